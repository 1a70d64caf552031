// model.arch=resnet: images with classes.
#include "model/arch/resnet.h"

#include <fstream>
#include <iterator>

#include "app/inference.h"
#include "app/workloads/workloads.h"
#include "io/images/image_source.h"
#include "kernels/error.h"

namespace trireme {
namespace {

class Images final : public DataSet {
 public:
  explicit Images(const std::vector<std::filesystem::path>& files) : data_(std::make_shared<ImageDataset>(files)) {}
  const TokenizerBlob& tokenizer() const override { return data_->classes(); }
  std::int64_t size() const override { return data_->images(); }
  std::string unit() const override { return "images"; }
  std::shared_ptr<Source> source(const Configuration& configuration, const SourceOptions& options) override {
    return std::make_shared<ImageSource>(data_, configuration.resnet.image_size, configuration.augmentation, options);
  }

 private:
  std::shared_ptr<const ImageDataset> data_;
};

class ImagePredictor final : public Predictor {
 public:
  ImagePredictor(const Configuration& configuration, const TokenizerBlob& classes)
      : size_(configuration.resnet.image_size),
        channels_(configuration.resnet.channels),
        crop_(configuration.augmentation.crop),
        classes_(class_names_of(classes)) {}

  Prediction predict(Inference& model, const std::string& path) const override {
    std::ifstream stream(path, std::ios::binary);
    if (!stream || std::filesystem::is_directory(path)) refuse("predict: '{}' cannot be read, expected an image", path);
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    const Shape shape = {size_, size_, channels_};
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(shape.elements()));
    prepare_image(std::as_bytes(std::span(bytes)), path, channels_, size_, crop_, pixels);
    const HostField image{DType::u8, shape, pixels.data()};
    return {.choices = ranked(model.logits({&image, 1}, std::ssize(classes_), {}), classes_)};
  }

 private:
  int size_, channels_;
  CropKind crop_;
  std::vector<std::string> classes_;
};

void take_number(int& value, int found, const char* key, const char* what) {
  if (value != 0 && value != found)
    refuse("{}={}, but the data set has {} {}; leave the key out to take its number", key, value, found, what);
  value = found;
}

class ResnetWorkload final : public Workload {
 public:
  std::string arch() const override { return "resnet"; }
  std::shared_ptr<DataSet> open(const std::vector<std::filesystem::path>& files) const override {
    return std::make_shared<Images>(files);
  }
  void take(Configuration& configuration, const TokenizerBlob& classes) const override {
    take_number(configuration.resnet.classes, classes.vocabulary, "model.image_classes", "classes");
    take_number(configuration.resnet.channels, channels_of(classes, "the data set"), "model.image_channels",
                "channels");
  }
  bool is_complete(const Configuration& configuration) const override {
    return configuration.resnet.classes != 0 && configuration.resnet.channels != 0;
  }
  Architecture architecture(const Configuration& configuration, int, DType type) const override {
    return make_resnet(configuration.resnet, type);
  }
  void limit(const Configuration&, LayoutLimits&) const override {}  // no layer is divided: tensor must be 1
  std::unique_ptr<Predictor> predictor(const Configuration& configuration,
                                       const TokenizerBlob& classes) const override {
    return std::make_unique<ImagePredictor>(configuration, classes);
  }
  std::optional<Example> example(Inference& model, const Batch& sample) const override {
    const std::vector<std::string> names = class_names_of(model.tokenizer());
    const auto guess = ranked(model.logits(first_fields(sample, 1), std::ssize(names), {}), names).front();
    const Shape& shape = sample.fields[0].shape;
    const auto pixels = sample.values<std::uint8_t>(0);
    return Example{fmt::format("class:   {}\nguessed: {} ({:.1f}%)",
                               names[static_cast<std::size_t>(sample.values<std::int32_t>(1).front())], guess.label,
                               100 * guess.probability),
                   Image{.width = static_cast<int>(shape[1]),
                         .height = static_cast<int>(shape[0]),
                         .channels = static_cast<int>(shape[2]),
                         .pixels = {pixels.begin(), pixels.end()}}};
  }
  int tokens_per_sample(const Configuration&) const override { return 0; }
};

}  // namespace

const Workload& resnet_workload() {
  static const ResnetWorkload workload;
  return workload;
}

}  // namespace trireme
