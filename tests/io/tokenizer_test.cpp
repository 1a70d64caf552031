#include "io/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

// Enough different text for a vocabulary of 320 with 256 byte tokens in it.
std::string corpus() {
  const std::vector<std::string> words = {"春眠", "不觉", "晓",   "处处", "闻",    "啼鸟", "夜来", "风雨", "声",
                                          "花落", "知",   "多少", "the",  " ship", " oar", " sea", "，",   "。"};
  std::string text;
  for (std::size_t i = 0; i < 4000; ++i) {
    text += words[(i * i + i / 3) % words.size()];
    if (i % 11 == 10) text += '\n';
  }
  return text;
}

std::unique_ptr<Tokenizer> trained(std::string_view kind, int vocabulary = 320) {
  const std::string text = corpus();
  return Tokenizer::train(kind, vocabulary, {text});
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    return error.what();
  }
  return "";
}

class SubwordTokenizer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Kinds, SubwordTokenizer, testing::Values("bpe", "unigram"));

TEST_P(SubwordTokenizer, RoundTripsEveryText) {
  const auto tokenizer = trained(GetParam());
  const std::vector<std::string> texts = {"",
                                          " ",
                                          "\n",
                                          "  two  spaces  ",
                                          "\n\n春眠\n\n",
                                          "tab\there",
                                          "carriage\r\nreturn",
                                          "生僻字龘𠮷🚢",
                                          "\u2581 sign\u2581",
                                          "\u2585",
                                          std::string("nul\0byte", 8),
                                          "</s><unk><s><0x41>",
                                          "\u3000全角",
                                          "e\u0301 ﬁ ①",
                                          "\uFFFD",
                                          "a\u200Bb\uFEFF"};
  for (const std::string& text : texts) {
    const auto tokens = tokenizer->encode(text);
    EXPECT_EQ(tokenizer->decode(tokens), text);
    EXPECT_EQ(std::count(tokens.begin(), tokens.end(), tokenizer->blob().end_of_text), 0) << text;
  }
}

TEST_P(SubwordTokenizer, KeepsSpacesThatTrainingNeverMet) {
  std::string text = corpus();
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const auto tokenizer = Tokenizer::train(GetParam(), 300, {text});
  for (const std::string part : {"a  b ", " ", "\u2581 \u2581", "\n \n"}) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(part)), part);
  }
}

TEST_P(SubwordTokenizer, LearnsPiecesLongerThanCharacters) {
  const auto tokenizer = trained(GetParam());
  const std::string text = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n";
  EXPECT_LT(tokenizer->encode(text).size(), count_code_points(text) - 1);
}

TEST_P(SubwordTokenizer, HasTheVocabularyAsked) {
  const TokenizerBlob blob = trained(GetParam())->blob();
  EXPECT_EQ(blob.kind, GetParam());
  EXPECT_EQ(blob.vocabulary, 320);
  EXPECT_GE(blob.end_of_text, 0);
  EXPECT_LT(blob.end_of_text, 320);
}

TEST_P(SubwordTokenizer, TrainsTheSameTwice) {
  EXPECT_EQ(trained(GetParam())->blob().model, trained(GetParam())->blob().model);
}

TEST_P(SubwordTokenizer, SpellsRareCharactersWhenTheVocabularyIsSmall) {
  std::string text;
  for (int i = 0; i < 40'000; ++i) {
    const int character = 0x4E00 + (i % 67 == 0 ? i / 67 : i % 20);
    for (const int byte : {0xE0 | character >> 12, 0x80 | (character >> 6 & 63), 0x80 | (character & 63)}) {
      text += static_cast<char>(byte);
    }
    if (i % 17 == 0) text += '\n';
  }
  const auto tokenizer = Tokenizer::train(GetParam(), 400, {text});  // 597 kinds of characters, 256 bytes
  EXPECT_EQ(tokenizer->blob().vocabulary, 400);
  EXPECT_TRUE(tokenizer->decode(tokenizer->encode(text)) == text);
}

TEST_P(SubwordTokenizer, RefusesAnImpossibleVocabulary) {
  EXPECT_THAT(refusal([] { trained(GetParam(), 100); }), HasSubstr("100"));
  EXPECT_THAT(refusal([] { trained(GetParam(), 30000); }), HasSubstr("30000"));
}

TEST_P(SubwordTokenizer, RefusesADamagedModel) {
  TokenizerBlob blob = trained(GetParam())->blob();
  blob.model.resize(blob.model.size() / 2);
  EXPECT_NE(refusal([&] { Tokenizer::load(blob); }), "");
  blob.model = "not a model";
  EXPECT_NE(refusal([&] { Tokenizer::load(blob); }), "");
  blob.model.clear();
  EXPECT_NE(refusal([&] { Tokenizer::load(blob); }), "");
}

TEST_P(SubwordTokenizer, DecodesHalfACharacterAsReplacement) {
  const auto tokenizer = trained(GetParam());
  auto tokens = tokenizer->encode("龘");
  ASSERT_EQ(tokens.size(), 3U);
  tokens.pop_back();
  EXPECT_THAT(tokenizer->decode(tokens), HasSubstr("\uFFFD"));
}

class AnyTokenizer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Kinds, AnyTokenizer, testing::Values("bpe", "unigram", "characters"));

TEST_P(AnyTokenizer, ComesBackFromItsBlob) {
  const auto tokenizer = trained(GetParam());
  const auto loaded = Tokenizer::load(tokenizer->blob());
  const std::string text = "花落 the ship\n知多少？";
  EXPECT_EQ(loaded->encode(text), tokenizer->encode(text));
  EXPECT_EQ(loaded->decode(tokenizer->encode(text)), tokenizer->decode(tokenizer->encode(text)));
}

TEST_P(AnyTokenizer, EndOfTextDecodesToNothing) {
  const auto tokenizer = trained(GetParam());
  auto tokens = tokenizer->encode("花落");
  tokens.push_back(tokenizer->blob().end_of_text);
  EXPECT_EQ(tokenizer->decode(tokens), "花落");
}

TEST_P(AnyTokenizer, RefusesWhatIsNotUtf8) {
  const auto tokenizer = trained(GetParam());
  EXPECT_THAT(refusal([&] { tokenizer->encode("花\xFF"); }), HasSubstr("byte 3"));
  EXPECT_THAT(refusal([] {
                Tokenizer::train(GetParam(), 320, {"fine", "not\xC0\x80"});
              }),
              HasSubstr("byte 3 of document 1"));
}

TEST_P(AnyTokenizer, RefusesABlobOfAnotherVocabulary) {
  TokenizerBlob blob = trained(GetParam())->blob();
  ++blob.vocabulary;
  EXPECT_NE(refusal([&] { Tokenizer::load(blob); }), "");
}

TEST_P(AnyTokenizer, RefusesNoText) {
  EXPECT_NE(refusal([] { Tokenizer::train(GetParam(), 320, {}); }), "");
  EXPECT_NE(refusal([] { Tokenizer::train(GetParam(), 320, {"", ""}); }), "");
}

TEST(CharacterTokenizer, NumbersCharactersByFrequency) {
  const auto tokenizer = Tokenizer::train("characters", 100, {"船水水", "水船\n"});
  EXPECT_EQ(tokenizer->blob().vocabulary, 5);
  EXPECT_EQ(tokenizer->encode("水船\n"), (std::vector<std::int32_t>{2, 3, 4}));
}

TEST(CharacterTokenizer, KeepsTheMostFrequentAndReplacesTheRest) {
  const auto tokenizer = Tokenizer::train("characters", 4, {"aaabbc"});
  EXPECT_EQ(tokenizer->blob().vocabulary, 4);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("abcd")), "ab\uFFFD\uFFFD");
}

TEST(CharacterTokenizer, RefusesVocabularyWithoutCharacters) {
  EXPECT_NE(refusal([] { Tokenizer::train("characters", 2, {"a"}); }), "");
}

TEST(CharacterTokenizer, RefusesADamagedModel) {
  EXPECT_NE(refusal([] { Tokenizer::load({"characters", 4, 0, "aa"}); }), "");
  EXPECT_NE(refusal([] { Tokenizer::load({"characters", 3, 0, "\xE4\xBD"}); }), "");
}

TEST(Tokenizer, RefusesOtherKinds) {
  EXPECT_THAT(refusal([] { Tokenizer::train("words", 320, {"a"}); }), HasSubstr("words"));
  EXPECT_THAT(refusal([] { Tokenizer::load({"words", 320, 0, ""}); }), HasSubstr("words"));
}

}  // namespace
}  // namespace trireme
