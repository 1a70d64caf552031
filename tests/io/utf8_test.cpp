#include "io/utf8.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

TEST(Utf8, ReadsCodePointsOfEveryLength) {
  EXPECT_EQ(first_code_point("a").value, U'a');
  EXPECT_EQ(first_code_point("é").value, U'é');
  EXPECT_EQ(first_code_point("船x").value, U'船');
  EXPECT_EQ(first_code_point("船x").bytes, 3U);
  EXPECT_EQ(first_code_point("🚢").value, U'🚢');
  EXPECT_EQ(first_code_point("\xF4\x8F\xBF\xBF").value, U'\x10FFFF');
}

TEST(Utf8, FindsTheFirstByteThatIsNotValid) {
  EXPECT_EQ(valid_utf8_bytes("船船"), 6U);
  EXPECT_EQ(valid_utf8_bytes("ab\x80"), 2U) << "stray continuation";
  EXPECT_EQ(valid_utf8_bytes("\xC0\x80"), 0U) << "overlong";
  EXPECT_EQ(valid_utf8_bytes("\xE0\x80\x80"), 0U) << "overlong";
  EXPECT_EQ(valid_utf8_bytes("\xF0\x80\x80\x80"), 0U) << "overlong";
  EXPECT_EQ(valid_utf8_bytes("\xED\xA0\x80"), 0U) << "surrogate";
  EXPECT_EQ(valid_utf8_bytes("\xF4\x90\x80\x80"), 0U) << "past U+10FFFF";
  EXPECT_EQ(valid_utf8_bytes("a\xE8\x88"), 1U) << "cut";
  EXPECT_EQ(valid_utf8_bytes("a\xE8(\xB9"), 1U) << "wrong continuation";
}

TEST(Utf8, CountsCodePoints) { EXPECT_EQ(count_code_points("a船🚢\n"), 4U); }

}  // namespace
}  // namespace trireme
