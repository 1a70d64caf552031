#include "io/pack_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>

#include "io/dataset.h"
#include "io/tokenizer.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class PackTextTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("pack-{}-{}", test->name(), ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path file(const std::filesystem::path& name, std::string_view text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  PackTextOptions options(const std::vector<std::filesystem::path>& inputs) {
    PackTextOptions chosen;
    chosen.inputs = inputs;
    chosen.output = folder_ / "train.h5";
    chosen.tokenizer = "characters";
    return chosen;
  }
  PackTextOptions split(const std::vector<std::filesystem::path>& inputs, double share) {
    PackTextOptions chosen = options(inputs);
    chosen.validation_output = folder_ / "validation.h5";
    chosen.validation_share = share;
    return chosen;
  }

  /// The texts between end-of-text tokens.
  static std::vector<std::string> documents(const std::filesystem::path& path) {
    TokenDataset dataset({path});
    const auto tokenizer = Tokenizer::load(dataset.tokenizer());
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(dataset.tokens()));
    dataset.read(0, tokens);
    std::vector<std::string> texts;
    std::vector<std::int32_t> document;
    for (const std::int32_t token : tokens) {
      if (token != dataset.tokenizer().end_of_text) {
        document.push_back(token);
        continue;
      }
      texts.push_back(tokenizer->decode(document));
      document.clear();
    }
    EXPECT_TRUE(document.empty());
    EXPECT_EQ(dataset.documents(), static_cast<std::int64_t>(texts.size()));
    return texts;
  }

  static std::string refusal(const PackTextOptions& chosen) {
    try {
      pack_text(chosen);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input) << error.what();
      return error.what();
    }
    return "";
  }

  std::filesystem::path folder_;
};

/// Lines that differ from each other.
std::string lines(int first, int count) {
  std::string text;
  for (int i = first; i < first + count; ++i) text += fmt::format("第{}行，水手划桨。\n", i);
  return text;
}

TEST_F(PackTextTest, AFileIsADocumentAndFoldersAreReadInOrder) {
  file("in/b.txt", "乙\n");
  file("in/a/z.txt", "甲\n甲\n");
  file("in/c.text", "not read");
  const auto single = file("single.md", "单");
  const PackTextResult result = pack_text(options({folder_ / "in", single}));
  EXPECT_THAT(documents(folder_ / "train.h5"), ElementsAre("甲\n甲\n", "乙\n", "单"));
  EXPECT_EQ(result.files, 3);
  EXPECT_EQ(result.documents, 3);
  EXPECT_EQ(result.bytes, 15);
  EXPECT_EQ(result.characters, 7);
  EXPECT_EQ(result.train.documents, 3);
  EXPECT_EQ(result.train.tokens, 7 + 3);
  EXPECT_EQ(result.validation.tokens, 0);
  EXPECT_EQ(result.vocabulary, 4 + 2);
}

TEST_F(PackTextTest, SeparatorLinesPartDocuments) {
  pack_text(options({file("a.txt", "%\n一\n%\n \n%\r\n二 % \n100%\n\f\n三\n%")}));
  EXPECT_THAT(documents(folder_ / "train.h5"), ElementsAre("一\n", "二 % \n100%\n", "三\n"));
}

TEST_F(PackTextTest, SubwordsLoseNothing) {
  const std::string text = lines(0, 3000) + "  生僻字龘\t🚢\n\n末";
  for (const char* kind : {"bpe", "unigram"}) {
    PackTextOptions chosen = options({file("a.txt", text)});
    chosen.tokenizer = kind;
    chosen.vocabulary = 300;
    EXPECT_EQ(pack_text(chosen).vocabulary, 300);
    EXPECT_TRUE(documents(folder_ / "train.h5") == std::vector{text});
  }
}

TEST_F(PackTextTest, ReadsGb18030) {
  PackTextOptions chosen = options({file("a.txt", "\xB4\xAC\xCB\xAE\n")});
  EXPECT_THAT(refusal(chosen), AllOf(HasSubstr("a.txt"), HasSubstr("byte 0 "), HasSubstr("gb18030")));
  chosen.encoding = "gb18030";
  pack_text(chosen);
  EXPECT_THAT(documents(folder_ / "train.h5"), ElementsAre("船水\n"));
}

TEST_F(PackTextTest, ValidationTakesAboutItsShareOfTheDocuments) {
  std::string text;
  std::set<std::string> written;
  for (int i = 0; i < 4000; ++i) {
    written.insert(lines(i, 1));
    text += lines(i, 1) + "%\n";
  }
  const PackTextResult result = pack_text(split({file("a.txt", text)}, 0.1));
  EXPECT_EQ(result.train.documents + result.validation.documents, 4000);
  EXPECT_NEAR(static_cast<double>(result.validation.documents), 400, 100);
  std::set<std::string> read;
  for (const char* name : {"train.h5", "validation.h5"}) {
    for (const std::string& document : documents(folder_ / name)) EXPECT_TRUE(read.insert(document).second);
  }
  EXPECT_EQ(read, written);
}

TEST_F(PackTextTest, ValidationDependsOnTheTextAlone) {
  std::string text, backwards;
  for (int i = 0; i < 500; ++i) {
    text += lines(i, 1) + "%\n";
    backwards.insert(0, lines(i, 1) + "%\n");
  }
  pack_text(split({file("a.txt", text)}, 0.1));
  auto first = documents(folder_ / "validation.h5");
  pack_text(split({file("b.txt", backwards)}, 0.1));
  auto second = documents(folder_ / "validation.h5");
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
}

TEST_F(PackTextTest, OneLongDocumentIsSplitInPieces) {
  const std::string text = lines(0, 20'000);
  const PackTextResult result = pack_text(split({file("a.txt", text)}, 0.1));
  EXPECT_EQ(result.documents, 1);
  EXPECT_NEAR(static_cast<double>(result.validation.tokens), static_cast<double>(result.train.tokens) / 9,
              static_cast<double>(result.train.tokens) / 9 * 0.9);
  std::map<std::size_t, std::string> by_place;
  for (const char* name : {"train.h5", "validation.h5"}) {
    for (const std::string& document : documents(folder_ / name)) by_place[text.find(document)] = document;
  }
  std::string whole;
  for (const auto& [place, document] : by_place) whole += document;
  EXPECT_TRUE(whole == text);
}

TEST_F(PackTextTest, LittleTextStillGivesBothSets) {
  for (int size = 100; size <= 400; size += 25) {
    const PackTextResult result = pack_text(split({file("a.txt", lines(size, size))}, 0.02));
    EXPECT_GT(result.validation.tokens, 0);
    EXPECT_GT(result.train.tokens, result.validation.tokens);
  }
  EXPECT_THAT(refusal(split({file("a.txt", lines(0, 3))}, 0.02)), HasSubstr("too short"));
  pack_text(split({file("one-line.txt", std::string(3000, 'a') + std::string(3000, 'b'))}, 0.02));
}

TEST_F(PackTextTest, TrainsTheTokenizerOnTrainTextOnly) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += fmt::format("document \xE4\xB8{:c}\n%\n", static_cast<char>(0x80 + i % 60));
  pack_text(split({file("a.txt", text)}, 0.2));
  for (const std::string& document : documents(folder_ / "train.h5")) EXPECT_THAT(document, Not(HasSubstr("\uFFFD")));
  // Equal documents stay together, so that no character of the one set is in the other.
  for (const std::string& document : documents(folder_ / "validation.h5")) EXPECT_THAT(document, HasSubstr("\uFFFD"));
}

TEST_F(PackTextTest, TheTokenizerSeesAnEvenSampleOfLargeText) {
  // 3 MB, of which the tokenizer sees 1 MB; the letters of the last part have to be among what it sees.
  std::string text;
  for (int i = 0; i < 3000; ++i) text += std::string(1000, static_cast<char>('a' + i / 150)) + "\n%\n";
  PackTextOptions chosen = options({file("a.txt", text)});
  chosen.tokenizer_megabytes = 1;
  EXPECT_EQ(pack_text(chosen).vocabulary, 20 + 1 + 2);
}

TEST_F(PackTextTest, IsTheSameTwice) {
  const auto input = file("a.txt", lines(0, 2000));
  PackTextOptions chosen = split({input}, 0.1);
  chosen.tokenizer = "unigram";
  chosen.vocabulary = 300;
  const auto bytes = [&](const char* name) {
    std::ifstream in(folder_ / name, std::ios::binary);
    TokenDataset dataset({folder_ / name});
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(dataset.tokens()));
    dataset.read(0, tokens);
    return std::pair(tokens, dataset.tokenizer().model);
  };
  pack_text(chosen);
  const auto train = bytes("train.h5"), validation = bytes("validation.h5");
  pack_text(chosen);
  EXPECT_TRUE(bytes("train.h5") == train);
  EXPECT_TRUE(bytes("validation.h5") == validation);
}

TEST_F(PackTextTest, TellsProgress) {
  std::map<std::string, double> last;
  pack_text(options({file("a.txt", lines(0, 100)), file("b.txt", lines(100, 100))}),
            [&](std::string_view phase, double done) {
              EXPECT_GE(done, last[std::string(phase)]);
              last[std::string(phase)] = done;
            });
  EXPECT_EQ(last["reading"], 1);
  EXPECT_EQ(last["encoding"], 1);
  EXPECT_TRUE(last.contains("training the tokenizer"));
}

TEST_F(PackTextTest, RefusesWrongOptionsAndInputs) {
  const auto good = file("a.txt", lines(0, 10));
  EXPECT_THAT(refusal(options({})), HasSubstr("input"));
  EXPECT_THAT(refusal(options({folder_ / "absent.txt"})), HasSubstr("absent.txt"));
  std::filesystem::create_directories(folder_ / "empty");
  EXPECT_THAT(refusal(options({folder_ / "empty"})), HasSubstr("*.txt"));
  EXPECT_THAT(refusal(options({file("blank.txt", " \n\n")})), HasSubstr("no text"));
  EXPECT_THAT(refusal(split({good}, 0)), HasSubstr("validation-share"));
  EXPECT_THAT(refusal(split({good}, 0.6)), HasSubstr("0.6"));
  PackTextOptions wrong = options({good});
  wrong.tokenizer = "words";
  EXPECT_THAT(refusal(wrong), HasSubstr("words"));
  wrong = options({good});
  wrong.encoding = "latin-1";
  EXPECT_THAT(refusal(wrong), HasSubstr("latin-1"));
  wrong = options({good});
  wrong.output = folder_ / "nowhere" / "train.h5";
  EXPECT_THAT(refusal(wrong), HasSubstr("nowhere"));
  wrong = split({good}, 0.1);
  wrong.validation_output = folder_ / "." / "train.h5";
  EXPECT_THAT(refusal(wrong), HasSubstr("train.h5"));
  wrong = options({good});
  wrong.output = "";
  EXPECT_THAT(refusal(wrong), HasSubstr("output"));
}

TEST_F(PackTextTest, LeavesNothingBehindWhenItFails) {
  file("in/a.txt", lines(0, 100));
  file("in/b.txt", "\xFF");
  EXPECT_NE(refusal(split({folder_ / "in"}, 0.1)), "");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

}  // namespace
}  // namespace trireme
