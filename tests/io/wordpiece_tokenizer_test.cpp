#include "io/wordpiece_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "io/dataset.h"
#include "io/unit_encoder.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view text =
    "天地玄黄，宇宙洪荒。the training trained trainers of the training in training\n日月盈昃 辰宿列张 the rain in "
    "spain";

std::unique_ptr<WordpieceTokenizer> trained(int vocabulary = 120, const TextForm& form = {}) {
  return WordpieceTokenizer::train(vocabulary, {text}, form);
}

std::vector<std::string> words_of(const WordpieceTokenizer& tokenizer, std::string_view of) {
  std::vector<std::string> words;
  for (const std::int32_t token : tokenizer.encode(of)) words.push_back(tokenizer.decode({&token, 1}));
  return words;
}

TEST(WordpieceTokenizer, TextComesBackButForItsSpaces) {
  const auto tokenizer = trained();
  for (const std::string whole : {"天地玄黄，宇宙洪荒。", "the training of spain", "张日the月rain。in"})
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(whole)), whole);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(" 天\t地\n玄  黄 \u3000")), "天地玄黄");
}

TEST(WordpieceTokenizer, HanCharactersAreTokensAndOtherWordsTheLongestPieces) {
  const auto tokenizer = trained();
  EXPECT_THAT(words_of(*tokenizer, "天地training"), ElementsAre("天", "地", "training"));
  const auto pieces = tokenizer->pieces_of("the trainspain");
  ASSERT_GE(pieces.size(), 3U);
  EXPECT_TRUE(pieces[0].begins_word && pieces[1].begins_word && !pieces[2].begins_word);
  EXPECT_EQ(pieces[1].first, 4U);
  EXPECT_GT(pieces[1].bytes, 2U) << "not letter by letter";
  EXPECT_THAT(tokenizer->encode("龙Ω"), ElementsAre(WordpieceTokenizer::unknown, WordpieceTokenizer::unknown));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("天龙地")), "天\uFFFD地");
}

TEST(WordpieceTokenizer, NoTextBecomesASpecialToken) {
  for (const std::int32_t token : trained()->encode("[PAD] [CLS] [SEP] [MASK] ##ing"))
    EXPECT_TRUE(token == WordpieceTokenizer::unknown || token >= WordpieceTokenizer::specials);
}

TEST(WordpieceTokenizer, KeepsToItsVocabularyAndIsTheSameAgain) {
  for (const int vocabulary : {6, 30, 60, 1000}) {
    const auto tokenizer = trained(vocabulary);
    EXPECT_LE(tokenizer->vocabulary(), vocabulary);
    const TokenizerBlob blob = tokenizer->blob();
    EXPECT_EQ(blob.model, trained(vocabulary)->blob().model);
    EXPECT_EQ(blob.end_of_text, WordpieceTokenizer::separate);
    const auto loaded = Tokenizer::load(blob);
    EXPECT_EQ(loaded->encode(text), tokenizer->encode(text));
    EXPECT_EQ(loaded->blob().model, blob.model);
  }
}

TEST(WordpieceTokenizer, NormalizesAsItWasTrained) {
  const auto fold = trained(120, {.fold_width = true});
  EXPECT_EQ(fold->encode("ｔｒａｉｎｉｎｇ　天"), fold->encode("training 天"));
  EXPECT_EQ(Tokenizer::load(fold->blob())->encode("ｔｈｅ"), fold->encode("the"));
  EXPECT_NE(trained()->encode("ｔｈｅ"), trained()->encode("the"));
}

TEST(WordpieceTokenizer, LabelsGoWithTheModelAndChangeNoToken) {
  const auto plain = trained();
  const LabelSet labels{LabelSet::Kind::tokens, {"O", "B-人 名", "I-人 名"}};
  const TokenizerBlob blob = plain->with_labels(labels)->blob();
  EXPECT_EQ(labels_of(blob), labels);
  EXPECT_EQ(labels_of(plain->blob()).kind, LabelSet::Kind::none);
  EXPECT_EQ(blob.vocabulary, plain->vocabulary());
  EXPECT_TRUE(reads_alike(blob, plain->blob()));
  EXPECT_FALSE(reads_alike(blob, trained(40)->blob()));
  EXPECT_FALSE(reads_alike(blob, trained(120, {.fold_width = true})->blob()));
}

TEST(WordpieceTokenizer, RefusesADamagedModel) {
  const TokenizerBlob blob = trained()->blob();
  const auto spoiled = [&](const std::string& from, const std::string& to) {
    TokenizerBlob other = blob;
    other.model.replace(other.model.find(from), from.size(), to);
    try {
      Tokenizer::load(other);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  for (const auto& [from, to] : {std::pair{"wordpiece 1", "wordpiece 2"},
                                 {"width keep", "width none"},
                                 {"[MASK]", "[mask]"},
                                 {"天\n", "\n"},
                                 {"天\n", "地\n"},
                                 {"天\n", "\xFF\n"},
                                 {"pieces ", "pieces 9"}})
    EXPECT_THAT(spoiled(from, to), HasSubstr("damaged")) << from;
  EXPECT_THROW(Tokenizer::train("wordpiece", 5, {text}), Error);
}

TEST(UnitEncoder, TellsWhereWordsEntitiesAndSentencesBegin) {
  const auto file = std::filesystem::path(testing::TempDir()) / fmt::format("units-{}.txt", ::getpid());
  std::ofstream(file) << "天地 100 n\n宇宙 100 ns\n天 1 n\n地 1 n\n";
  const Segmenter segmenter(file);
  std::filesystem::remove(file);
  const auto tokenizer = trained(60);
  const EncodedText found = UnitEncoder(*tokenizer, &segmenter).encode("天地玄黄。宇宙spainish\n日");
  EXPECT_EQ(found.tokens, tokenizer->encode("天地玄黄。宇宙spainish日"));
  std::string signs;  // level, in capitals where a unit begins, after a dot where a sentence does
  for (const std::uint8_t unit : found.units) {
    const char sign = "cwe"[unit >> TokenUnit::level_shift];
    if ((unit & TokenUnit::begins_sentence) != 0) signs += '.';
    signs += (unit & TokenUnit::begins) != 0 ? static_cast<char>(sign - 'a' + 'A') : sign;
  }
  const std::size_t latin = tokenizer->encode("spainish").size();
  EXPECT_GT(latin, 1U);
  EXPECT_EQ(signs, ".WwCCC.EeW" + std::string(latin - 1, 'w') + ".C");
}

}  // namespace
}  // namespace trireme
