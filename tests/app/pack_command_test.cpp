#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/dataset.h"
#include "tests/app/support.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class PackCommand : public ::testing::Test {
 protected:
  PackCommand() {
    std::string text;
    for (int line = 0; line < 400; ++line) text += "第" + std::to_string(line * line) + "行，白日依山尽。\n";
    test::write_text(folder_ / "poem.txt", text);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  test::TemporaryFolder folder_;
};

TEST_F(PackCommand, WritesBothSetsAndTellsWhatCameOfIt) {
  const auto result = test::run_trireme("pack text --input=" + path("poem.txt") + " --output=" + path("train.h5") +
                                        " --validation-output=" + path("validation.h5") +
                                        " --validation-share=0.2 --tokenizer=characters --vocabulary=64");
  ASSERT_EQ(result.status, 0) << result.err;
  const TokenDataset train({folder_ / "train.h5"});
  const TokenDataset validation({folder_ / "validation.h5"});
  EXPECT_GT(validation.tokens(), 0);
  EXPECT_EQ(train.tokenizer().kind, "characters");
  EXPECT_THAT(result.out, AllOf(ContainsRegex("files +1\n"), ContainsRegex("documents +1\n"),
                                HasSubstr(std::to_string(train.tokens()) + " tokens in"),
                                HasSubstr(std::to_string(validation.tokens()) + " tokens in")));
  EXPECT_THAT(result.out, AllOf(ContainsRegex("bytes per token +[0-9]+\\.[0-9]+"),
                                ContainsRegex("unigram entropy +[0-9.]+ nats a token"),
                                ContainsRegex("bigram entropy +[0-9.]+ nats a token"), HasSubstr("bigram model")));
}

TEST_F(PackCommand, TakesOptionsFromAFileAndNeedsNoValidationSet) {
  test::write_text(folder_ / "pack.ini", "[pack]\ninput = \"" + path("poem.txt") + "\"\ntokenizer = characters\n");
  const auto result = test::run_trireme("pack text --config " + path("pack.ini") + " --output " + path("train.h5"));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, Not(HasSubstr("validation")));
  EXPECT_GT(TokenDataset({folder_ / "train.h5"}).tokens(), 0);
}

TEST_F(PackCommand, RefusesWhatIsMissingOrWrong) {
  const auto refused = [](const std::string& arguments) {
    const auto result = test::run_trireme("pack " + arguments);
    EXPECT_EQ(result.status, 2) << arguments << result.err;
    return result.err;
  };
  EXPECT_THAT(refused("text --output=x.h5"), HasSubstr("--input"));
  EXPECT_THAT(refused("text --input=" + path("poem.txt")), HasSubstr("--output"));
  EXPECT_THAT(refused("text --input=/no/such.txt --output=" + path("x.h5")), HasSubstr("/no/such.txt"));
  EXPECT_THAT(refused("sounds --input=x --output=y"), HasSubstr("found 'sounds', expected one of text"));
  EXPECT_THAT(refused("text --tokenizer=words"), HasSubstr("expected one of bpe, unigram, characters"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.h5"));
}

}  // namespace
}  // namespace trireme
