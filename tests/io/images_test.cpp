// Packing images, the data sets that come of it, and the samples drawn from these.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "io/images/image_source.h"
#include "io/images/pack_images.h"
#include "io/loader.h"
#include "tests/app/support.h"
#include "tests/support/error_of.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename Action>
std::string message_of(const Action& action) {
  return error_of(action).what();
}

void write_file(const fs::path& path, std::span<const std::byte> bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

/// A picture that tells its number in its colours.
Image picture(int number, int width, int height, int channels = 3) {
  Image image{.width = width, .height = height, .channels = channels};
  for (int i = 0; i < width * height * channels; ++i)
    image.pixels.push_back(static_cast<std::uint8_t>(40 * number + i % 37));
  return image;
}

std::vector<std::byte> idx(const std::vector<std::uint32_t>& shape, const std::vector<std::uint8_t>& values) {
  std::vector<std::byte> bytes = {std::byte{0}, std::byte{0}, std::byte{8}, static_cast<std::byte>(shape.size())};
  for (const std::uint32_t extent : shape)
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::byte>(extent >> shift));
  for (const std::uint8_t value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

class Images : public ::testing::Test {
 protected:
  void write_folder() {
    write_file(folder_ / "in/cat/a.jpg", encode_jpeg(picture(0, 50, 40), 90));
    write_file(folder_ / "in/cat/deep/b.PNG", encode_png(picture(1, 30, 60)));
    write_file(folder_ / "in/dog/c.jpeg", encode_jpeg(picture(2, 64, 48), 90));
    write_file(folder_ / "in/dog/notes.txt", {});
  }
  void write_idx(const std::vector<std::uint8_t>& labels, std::uint32_t images = 3) {
    std::vector<std::uint8_t> pixels(images * 4 * 5);
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i);
    write_file(folder_ / "train-images-idx3-ubyte", idx({images, 4, 5}, pixels));
    write_file(folder_ / "train-labels-idx1-ubyte", idx({static_cast<std::uint32_t>(labels.size())}, labels));
  }
  PackImagesOptions options(const std::string& input = "in") const {
    return {.inputs = {folder_ / input}, .output = folder_ / "out.h5", .threads = 2};
  }
  PackImagesOptions idx_options() const { return options("train-images-idx3-ubyte"); }

  test::TemporaryFolder folder_;
};

TEST_F(Images, FoldersKeepTheirFiles) {
  write_folder();
  const PackImagesResult result = pack_images(options());
  EXPECT_THAT(result.classes, ElementsAre("cat", "dog"));
  EXPECT_EQ(result.train, 3);
  const ImageDataset data({folder_ / "out.h5"});
  ASSERT_EQ(data.images(), 3);
  EXPECT_EQ(data.label(0), 0);
  EXPECT_EQ(data.label(2), 1);
  EXPECT_EQ(data.channels(), 3);
  std::vector<std::byte> bytes;
  data.read(1, bytes);
  EXPECT_EQ(bytes, encode_png(picture(1, 30, 60)));
  EXPECT_THAT(class_names_of(data.classes()), ElementsAre("cat", "dog"));
}

TEST_F(Images, WhatDoesNotDecodeIsSkippedOrRefused) {
  write_folder();
  const auto whole = encode_jpeg(picture(3, 64, 64), 90);
  write_file(folder_ / "in/dog/cut.jpg", std::span(whole).first(whole.size() / 2));
  write_file(folder_ / "in/dog/text.png", std::as_bytes(std::span("no image")));
  const PackImagesResult result = pack_images(options());
  EXPECT_EQ(result.train, 3);
  EXPECT_EQ(result.skipped_count, 2);
  EXPECT_THAT(result.skipped, ElementsAre(HasSubstr("dog/cut.jpg: "), HasSubstr("dog/text.png: ")));
  PackImagesOptions strict = options();
  strict.broken = "refuse";
  const Error error = error_of([&] { pack_images(strict); });
  EXPECT_EQ(error.status(), ExitStatus::invalid_input);
  EXPECT_THAT(error.what(), HasSubstr("dog/cut.jpg: "));
}

TEST_F(Images, RefusesMissingAndUnknownLabels) {
  write_folder();
  write_file(folder_ / "other/cow/a.png", encode_png(picture(0, 8, 8)));
  PackImagesOptions with_validation = options();
  with_validation.validation_inputs = {folder_ / "other"};
  with_validation.validation_output = folder_ / "validation.h5";
  EXPECT_THAT(message_of([&] { pack_images(with_validation); }),
              HasSubstr("cow/a.png: its class 'cow' is none of the 2"));
  EXPECT_FALSE(fs::exists(folder_ / "out.h5")) << "all or nothing";
  write_file(folder_ / "in/loose.png", encode_png(picture(0, 8, 8)));
  EXPECT_THAT(message_of([&] { pack_images(options()); }), HasSubstr("loose.png: an image without a label"));
}

TEST_F(Images, IdxBecomesRawImages) {
  write_idx({1, 0, 2});
  const PackImagesResult result = pack_images(idx_options());
  EXPECT_EQ(result.channels, 1);
  EXPECT_THAT(result.classes, ElementsAre("0", "1", "2"));
  const ImageDataset data({folder_ / "out.h5"});
  EXPECT_EQ(data.raw_size(0).width, 5);
  EXPECT_EQ(data.label(2), 2);
  std::vector<std::byte> bytes;
  data.read(1, bytes);
  EXPECT_EQ(bytes.front(), std::byte{20});
}

TEST_F(Images, RefusesIdxLabelsThatDoNotFit) {
  write_idx({1, 0});
  EXPECT_THAT(message_of([&] { pack_images(idx_options()); }), HasSubstr("2 labels for the 3 images"));
  write_idx({2, 0, 2});
  EXPECT_THAT(message_of([&] { pack_images(idx_options()); }), HasSubstr("class '1': not one image"));
  write_file(folder_ / "train-images-idx3-ubyte", idx({3, 4, 5}, std::vector<std::uint8_t>(50)));
  write_idx({0, 1, 2}, 3);
  write_file(folder_ / "train-images-idx3-ubyte", idx({3, 4, 5}, std::vector<std::uint8_t>(50)));
  EXPECT_THAT(message_of([&] { pack_images(idx_options()); }), HasSubstr("ends early"));
}

TEST_F(Images, ValidationShareDependsOnTheBytesAlone) {
  write_idx({});
  std::vector<std::uint8_t> labels(200);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = i % 2;
  write_idx(labels, 200);
  PackImagesOptions split = idx_options();
  split.validation_output = folder_ / "validation.h5";
  split.validation_share = 0.3;
  const PackImagesResult result = pack_images(split);
  EXPECT_EQ(result.train + result.validation, 200);
  EXPECT_GT(result.validation, 0);
  EXPECT_EQ(pack_images(split).validation, result.validation);
}

TEST_F(Images, DamagedDataSetsAreRefused) {
  write_idx({1, 0, 2});
  pack_images(idx_options());
  const fs::path file = folder_ / "out.h5";
  fs::resize_file(file, fs::file_size(file) / 2);
  EXPECT_EQ(error_of([&] { ImageDataset({file}); }).status(), ExitStatus::invalid_input);
}

/// All batches of a source, whatever the workers and ranks that read it.
std::vector<float> read_all(const std::shared_ptr<Source>& source, int batches, int workers, int ranks) {
  std::vector<float> values;
  std::vector<std::unique_ptr<Loader>> loaders;
  for (int rank = 0; rank < ranks; ++rank)
    loaders.push_back(std::make_unique<Loader>(
        source, LoaderOptions{.global_batch = 4, .data_rank = rank, .data_ranks = ranks, .workers = workers}));
  for (int batch = 0; batch < batches; ++batch) {
    for (const auto& loader : loaders) {
      const Batch& read = loader->next();
      values.insert(values.end(), read.values<std::uint8_t>(0).begin(), read.values<std::uint8_t>(0).end());
    }
  }
  return values;
}

TEST_F(Images, SamplesDependOnTheSeedAlone) {
  write_folder();
  pack_images(options());
  const auto data = std::make_shared<ImageDataset>(std::vector{folder_ / "out.h5"});
  const auto source = [&](std::uint64_t seed, CropKind crop) {
    return std::make_shared<ImageSource>(data, 24, Augmentation{.crop = crop, .colour_jitter = 0.4},
                                         SourceOptions{.global_batch = 4, .seed = seed});
  };
  for (const CropKind crop : {CropKind::resized, CropKind::padded}) {
    const auto one = read_all(source(1, crop), 3, 1, 1);
    EXPECT_EQ(read_all(source(1, crop), 3, 3, 2), one);
    EXPECT_NE(read_all(source(2, crop), 3, 1, 1), one);
  }
}

TEST_F(Images, AnEvaluationTakesEveryImageOnceAsItIs) {
  write_idx({1, 0, 2});
  pack_images(idx_options());
  const auto data = std::make_shared<ImageDataset>(std::vector{folder_ / "out.h5"});
  ImageSource source(data, 4, {.crop = CropKind::whole}, {.global_batch = 2, .training = false});
  EXPECT_EQ(source.batches(), 2);
  std::vector<std::uint8_t> pixels(16);
  std::int32_t label = 0;
  const std::vector<std::byte*> fields = {reinterpret_cast<std::byte*>(pixels.data()),
                                          reinterpret_cast<std::byte*>(&label)};
  const std::vector<std::int32_t> wanted = {1, 0, 2, -1};  // the last fills up the batch
  for (int i = 0; i < 4; ++i) {
    source.read(i / 2, i % 2, fields);
    EXPECT_EQ(label, wanted[static_cast<std::size_t>(i)]);
  }
  // 5 x 4 pixels, of which the middle square begins and ends inside a pixel: the mean of neighbours, 0.5, rounded up.
  source.read(0, 0, fields);
  EXPECT_EQ(pixels[0], 1);
}

}  // namespace
}  // namespace trireme
