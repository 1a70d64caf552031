#include "io/chinese_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"

namespace trireme {
namespace {

using ::testing::ElementsAre;

TEST(TextNormalizer, FoldsWidths) {
  const TextNormalizer fold({.fold_width = true});
  EXPECT_EQ(fold("ＡＢＣ１２３　ｘ％＋＝"), "ABC123 x%+=");
  EXPECT_EQ(fold("他说：“好！”（真的？）；，。"), "他说：“好！”（真的？）；，。") << "punctuation stays";
  EXPECT_EQ(fold("ｶﾞｷﾞｸﾞ｢ｱ｣"), "ガギグ「ア」");
  EXPECT_EQ(fold("①㎡ﬁ"), "①㎡ﬁ") << "what is no matter of width stays";
  for (const std::string text : {"ＡＢＣ１２３　ｘ", "ｶﾞ｢ｱ｣"}) EXPECT_EQ(fold(fold(text)), fold(text));
  EXPECT_EQ(TextNormalizer({})("ＡＢＣ　臺灣"), "ＡＢＣ　臺灣");
}

TEST(TextNormalizer, SimplifiesByOpencc) {
  std::unique_ptr<TextNormalizer> simplify;
  try {
    simplify = std::make_unique<TextNormalizer>(TextForm{.fold_width = true, .simplify = true});
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  EXPECT_EQ((*simplify)("漢語拼音，頭髮與發展；ＸＹ"), "汉语拼音，头发与发展；XY");
  EXPECT_EQ((*simplify)("汉语拼音"), "汉语拼音");
}

TEST(SplitSentences, EndsAtMarksWithWhatClosesAfterThem) {
  EXPECT_THAT(split_sentences("天地玄黄。宇宙洪荒！“日月盈昃？”辰宿列张……寒来"),
              ElementsAre("天地玄黄。", "宇宙洪荒！", "“日月盈昃？”", "辰宿列张……", "寒来"));
  EXPECT_THAT(split_sentences("版本 1.5 没有。 下一句"), ElementsAre("版本 1.5 没有。 ", "下一句"));
  EXPECT_THAT(split_sentences(""), ElementsAre());
}

TEST(Characters, AreOfWordsOrByThemselves) {
  EXPECT_TRUE(is_han(U'汉') && is_han(U'𠀀') && !is_han(U'a') && !is_han(U'，'));
  EXPECT_TRUE(is_word_character(U'a') && is_word_character(U'é') && is_word_character(U'7'));
  EXPECT_FALSE(is_word_character(U'汉') || is_word_character(U'カ') || is_word_character(U'-'));
  EXPECT_TRUE(is_space(U' ') && is_space(U'\u3000') && is_space(U'\n') && !is_space(U'a'));
}

}  // namespace
}  // namespace trireme
