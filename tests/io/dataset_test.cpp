#include "io/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>

#include "io/hdf5.h"
#include "kernels/error.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Tokens = std::vector<std::int32_t>;

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("dataset-{}-{}", test->name(), ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static TokenizerBlob tokenizer(int vocabulary = 100) { return {"characters", vocabulary, 0, "the model"}; }

  std::filesystem::path write(const std::string& name, const std::vector<Tokens>& documents,
                              const TokenizerBlob& blob = tokenizer()) {
    TokenDatasetWriter writer(folder_ / name, blob);
    for (const Tokens& document : documents) writer.append_document(document);
    writer.commit();
    return folder_ / name;
  }

  static Tokens read(TokenDataset& dataset, std::int64_t first, std::int64_t count) {
    Tokens tokens(static_cast<std::size_t>(count));
    dataset.read(first, tokens);
    return tokens;
  }

  static std::string refusal(const std::vector<std::filesystem::path>& files) {
    return refusal([&] { TokenDataset dataset(files); });
  }
  static std::string refusal(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input) << error.what();
      return error.what();
    }
    return "";
  }

  /// Opens a good file for writing and lets `change` spoil it.
  std::filesystem::path spoiled(const std::function<void(hid_t)>& change) {
    const auto path = write("spoiled.h5", {{1, 2, 3}, {4}});
    const hdf5::Lock lock(hdf5::library_mutex());
    const hdf5::Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    change(file.get());
    return path;
  }

  static void set_number(hid_t at, const char* name, int value) {
    const hdf5::Handle attribute(H5Aopen(at, name, H5P_DEFAULT), H5Aclose);
    H5Awrite(attribute.get(), H5T_NATIVE_INT, &value);
  }

  std::filesystem::path folder_;
};

TEST_F(DatasetTest, ReadsBackDocumentsClosedByEndOfText) {
  TokenDataset dataset({write("a.h5", {{1, 2, 3}, {}, {4}})});
  EXPECT_EQ(dataset.tokens(), 7);
  EXPECT_EQ(dataset.documents(), 3);
  EXPECT_EQ(read(dataset, 0, 7), (Tokens{1, 2, 3, 0, 0, 4, 0}));
  EXPECT_EQ(read(dataset, 2, 3), (Tokens{3, 0, 0}));
  EXPECT_EQ(dataset.tokenizer().kind, "characters");
  EXPECT_EQ(dataset.tokenizer().vocabulary, 100);
  EXPECT_EQ(dataset.tokenizer().end_of_text, 0);
  EXPECT_EQ(dataset.tokenizer().model, "the model");
}

TEST_F(DatasetTest, OffsetsTellWhereDocumentsBegin) {
  const auto path = write("a.h5", {{1, 2, 3}, {}, {4}});
  std::vector<std::uint64_t> offsets(4);
  hdf5::read(hdf5::open_object(hdf5::open_file(path), "documents"), {0}, {4}, offsets.data());
  EXPECT_EQ(offsets, (std::vector<std::uint64_t>{0, 4, 5, 7}));
}

TEST_F(DatasetTest, WritesADocumentInParts) {
  TokenDatasetWriter writer(folder_ / "a.h5", tokenizer());
  writer.append(Tokens{1, 2});
  writer.append(Tokens{3});
  writer.end_document();
  writer.append(Tokens{4});
  writer.commit();  // closes what is open
  TokenDataset dataset({folder_ / "a.h5"});
  EXPECT_EQ(dataset.documents(), 2);
  EXPECT_EQ(read(dataset, 0, 6), (Tokens{1, 2, 3, 0, 4, 0}));
}

// Vocabularies of two and of four bytes, over several chunks.
TEST_F(DatasetTest, GrowsBeyondOneChunk) {
  for (const int vocabulary : {65536, 65537}) {
    constexpr std::int64_t count = 2'500'000;
    Tokens tokens(count);
    std::mt19937 random(static_cast<unsigned>(vocabulary));
    std::generate(tokens.begin(), tokens.end(), [&] { return static_cast<std::int32_t>(random() % vocabulary); });
    tokens.front() = vocabulary - 1;
    TokenDataset dataset({write("large.h5", {tokens}, tokenizer(vocabulary))});
    ASSERT_EQ(dataset.tokens(), count + 1);
    const Tokens back = read(dataset, 0, count);
    EXPECT_TRUE(back == tokens);
    for (const std::int64_t first : {1'048'570LL, 524'280LL, 2'097'100LL}) {
      EXPECT_TRUE(std::equal(tokens.begin() + first, tokens.begin() + first + 100, read(dataset, first, 100).begin()));
    }
    const auto bytes = static_cast<double>(std::filesystem::file_size(folder_ / "large.h5"));
    EXPECT_NEAR(bytes, static_cast<double>(count) * (vocabulary <= 65536 ? 2 : 4), 4.3e6);
  }
}

TEST_F(DatasetTest, KeepsManyDocuments) {
  const std::vector<Tokens> documents(600'000, Tokens{7});
  TokenDataset dataset({write("many.h5", documents)});
  EXPECT_EQ(dataset.documents(), 600'000);
  EXPECT_EQ(dataset.tokens(), 1'200'000);
}

TEST_F(DatasetTest, ReadsSeveralFilesAsOne) {
  TokenDataset dataset({write("a.h5", {{1, 2}}), write("empty.h5", {}), write("b.h5", {{3}}), write("c.h5", {{4, 5}})});
  const Tokens all = {1, 2, 0, 3, 0, 4, 5, 0};
  ASSERT_EQ(dataset.tokens(), 8);
  EXPECT_EQ(dataset.documents(), 3);
  for (std::int64_t first = 0; first <= 8; ++first) {
    for (std::int64_t end = first; end <= 8; ++end) {
      EXPECT_EQ(read(dataset, first, end - first), Tokens(all.begin() + first, all.begin() + end));
    }
  }
  EXPECT_THROW(read(dataset, 7, 2), Error);
  EXPECT_THROW(read(dataset, -1, 2), Error);
}

TEST_F(DatasetTest, AppearsOnlyWhenCommitted) {
  const auto path = folder_ / "a.h5";
  {
    TokenDatasetWriter writer(path, tokenizer());
    writer.append_document(Tokens{1});
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  write("a.h5", {{1}});
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(DatasetTest, WriterRefusesTokensBeyondTheVocabulary) {
  TokenDatasetWriter writer(folder_ / "a.h5", tokenizer());
  EXPECT_THROW(writer.append(Tokens{100}), Error);
  EXPECT_THROW(writer.append(Tokens{-1}), Error);
}

TEST_F(DatasetTest, RefusesMissingAndForeignFiles) {
  EXPECT_THAT(refusal({folder_ / "absent.h5"}), HasSubstr("absent.h5"));
  EXPECT_THAT(refusal(std::vector<std::filesystem::path>{}), HasSubstr("no files"));
  EXPECT_THAT(refusal({folder_}), HasSubstr(folder_.string()));
  std::ofstream(folder_ / "text.h5") << "this is not HDF5";
  EXPECT_THAT(refusal({folder_ / "text.h5"}), AllOf(HasSubstr("text.h5"), HasSubstr("not an HDF5")));
  std::ofstream(folder_ / "nothing.h5").close();
  EXPECT_THAT(refusal({folder_ / "nothing.h5"}), HasSubstr("nothing.h5"));
  hdf5::create_file(folder_ / "other.h5");
  EXPECT_THAT(refusal({folder_ / "other.h5"}), AllOf(HasSubstr("other.h5"), HasSubstr("format")));
}

TEST_F(DatasetTest, RefusesOtherFormatsAndVersions) {
  auto path = spoiled([](hid_t file) { set_number(file, "version", 7); });
  EXPECT_THAT(refusal({path}), AllOf(HasSubstr("spoiled.h5"), HasSubstr("version 7"), HasSubstr("version 1")));
  {
    const hdf5::Handle file = hdf5::create_file(folder_ / "other.h5");
    hdf5::write_string(file, "format", "trireme-shard");
  }
  EXPECT_THAT(refusal({folder_ / "other.h5"}), AllOf(HasSubstr("trireme-shard"), HasSubstr("trireme-tokens")));
}

TEST_F(DatasetTest, RefusesMissingParts) {
  for (const char* part : {"tokens", "documents", "tokenizer", "tokenizer/model"}) {
    const auto path = spoiled([&](hid_t file) { H5Ldelete(file, part, H5P_DEFAULT); });
    EXPECT_THAT(refusal({path}), AllOf(HasSubstr("spoiled.h5"), HasSubstr(part)));
  }
  const auto path = spoiled([&](hid_t file) { H5Adelete_by_name(file, "tokenizer", "vocabulary", H5P_DEFAULT); });
  EXPECT_THAT(refusal({path}), AllOf(HasSubstr("spoiled.h5"), HasSubstr("vocabulary")));
}

TEST_F(DatasetTest, RefusesTokensThatEndBeforeTheDocuments) {
  const auto path = spoiled([&](hid_t file) {
    H5Ldelete(file, "tokens", H5P_DEFAULT);
    const hsize_t count = 5;
    const hdf5::Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose);
    const hdf5::Handle tokens(
        H5Dcreate2(file, "tokens", H5T_NATIVE_UINT16, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose);
  });
  EXPECT_THAT(refusal({path}), AllOf(HasSubstr("spoiled.h5"), HasSubstr("5"), HasSubstr("end at 6")));
}

TEST_F(DatasetTest, RefusesFilesCutAnywhere) {
  const auto path = write("cut.h5", {Tokens(30'000, 5), Tokens(100, 6)});
  for (auto size = std::filesystem::file_size(path) - 1; size > 0; size = size * 3 / 4) {
    std::filesystem::resize_file(path, size);
    EXPECT_THAT(refusal({path}), HasSubstr("cut.h5")) << size << " bytes";
  }
}

TEST_F(DatasetTest, GarbageIsRefusedOrReadButNeverMore) {
#ifdef __SANITIZE_ADDRESS__
  const __lsan::ScopedDisabler hdf5_leaks;  // HDF5 1.10 forgets memory when the metadata it opens is damaged
#endif
  const auto path = write("good.h5", {Tokens(300, 5), Tokens(100, 6)});
  std::ifstream in(path, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  std::mt19937 random(1);
  for (int trial = 0; trial < 300; ++trial) {
    std::string bad = good;
    for (int i = 0; i < 8; ++i) bad[random() % bad.size()] = static_cast<char>(random());
    std::ofstream(folder_ / "bad.h5", std::ios::binary) << bad;
    try {
      TokenDataset dataset({folder_ / "bad.h5"});
      for (const std::int32_t token : read(dataset, 0, std::min<std::int64_t>(dataset.tokens(), 400))) {
        ASSERT_LT(token, dataset.tokenizer().vocabulary);
      }
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("bad.h5"));
    }
  }
}

TEST_F(DatasetTest, RefusesFilesOfDifferentTokenizers) {
  const auto first = write("a.h5", {{1}});
  TokenizerBlob other = tokenizer();
  other.model = "another model";
  EXPECT_THAT(refusal({first, write("b.h5", {{1}}, other)}), AllOf(HasSubstr("a.h5"), HasSubstr("b.h5")));
  EXPECT_THAT(refusal({first, write("c.h5", {{1}}, tokenizer(101))}), AllOf(HasSubstr("100"), HasSubstr("101")));
}

TEST_F(DatasetTest, RefusesATokenBeyondTheVocabulary) {
  const auto good = write("good.h5", {{1}});
  const auto path = spoiled([](hid_t file) {
    const hdf5::Handle tokens(H5Dopen2(file, "tokens", H5P_DEFAULT), H5Dclose);
    const std::vector<int> values = {1, 2, 3, 0, 100, 0};
    H5Dwrite(tokens.get(), H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  });
  TokenDataset dataset({good, path});
  EXPECT_EQ(read(dataset, 0, 5).size(), 5U);
  EXPECT_THAT(refusal([&] { read(dataset, 1, 7); }),
              AllOf(HasSubstr("spoiled.h5"), HasSubstr("token 100"), HasSubstr("position 4"), HasSubstr("of 100")));
}

TEST_F(DatasetTest, Version2KeepsUnitsAndLabelsOverSeveralFiles) {
  const auto write_labelled = [&](const std::string& name, LabelledBy by, int first) {
    TokenDatasetWriter writer(folder_ / name, tokenizer(), {.units = true, .labelled = by});
    const std::vector<std::uint8_t> units = {1, 6, 4};
    const Tokens tokens = {first, first + 1, first + 2}, labels = {7, -1, 8};
    writer.append(tokens, units, labels);
    writer.end_document(first);
    writer.append(std::span(tokens).first(1), std::span(units).first(1), std::span(labels).first(1));
    writer.end_document(first + 1);
    writer.commit();
    return folder_ / name;
  };
  for (const LabelledBy by : {LabelledBy::documents, LabelledBy::tokens}) {
    TokenDataset dataset({write_labelled("a.h5", by, 10), write_labelled("b.h5", by, 20)});
    EXPECT_TRUE(dataset.has_units());
    EXPECT_EQ(dataset.labelled_by(), by);
    std::vector<std::uint8_t> units(7);
    dataset.read_units(2, units);
    EXPECT_EQ(units, (std::vector<std::uint8_t>{4, 1, 1, 1, 1, 6, 4}));
    EXPECT_EQ(dataset.document(2).first, 6);
    EXPECT_EQ(dataset.document(2).count, 4);
    EXPECT_EQ(dataset.document(3).first, 10);
    EXPECT_EQ(read(dataset, 0, dataset.tokens()), (Tokens{10, 11, 12, 0, 10, 0, 20, 21, 22, 0, 20, 0}));
    Tokens labels(by == LabelledBy::documents ? 4 : 12);
    dataset.read_labels(0, labels);
    EXPECT_EQ(labels, by == LabelledBy::documents ? (Tokens{10, 11, 20, 21})
                                                  : (Tokens{7, -1, 8, -1, 7, -1, 7, -1, 8, -1, 7, -1}));
  }
  EXPECT_THAT(
      refusal({write_labelled("a.h5", LabelledBy::documents, 1), write_labelled("b.h5", LabelledBy::tokens, 1)}),
      AllOf(HasSubstr("b.h5"), HasSubstr("labels")));
  TokenDataset mixed({write("plain.h5", {{1}}), write("other.h5", {{2}})});
  EXPECT_FALSE(mixed.has_units());
  EXPECT_EQ(mixed.labelled_by(), LabelledBy::nothing);
}

TEST_F(DatasetTest, WhatHasNoUnitsIsVersion1) {
  const hdf5::Handle file = hdf5::open_file(write("plain.h5", {{1}}));
  EXPECT_EQ(hdf5::read_number<std::int32_t>(file, "version"), 1);
}

TEST_F(DatasetTest, RefusesUnitsAndLabelsThatDoNotFit) {
  const auto with = [&](const char* name, std::int64_t count) {
    const auto path = write("spoiled.h5", {{1, 2, 3}, {4}});
    const hdf5::Lock lock(hdf5::library_mutex());
    const hdf5::Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    const std::vector<std::int32_t> zeros(static_cast<std::size_t>(count));
    const hdf5::Handle column = hdf5::create_dataset<std::int32_t>(file, name, {count});
    hdf5::write(column, {}, {count}, zeros.data());
    if (std::string(name) == "labels") hdf5::write_string(column, "of", "tokens");
    return path;
  };
  EXPECT_THAT(refusal({with("units", 6)}), AllOf(HasSubstr("spoiled.h5"), HasSubstr("/units")));
  EXPECT_THAT(refusal({with("labels", 5)}), AllOf(HasSubstr("spoiled.h5"), HasSubstr("/labels"), HasSubstr("[6]")));
}

}  // namespace
}  // namespace trireme
