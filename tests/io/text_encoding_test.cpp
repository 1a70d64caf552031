#include "io/text_encoding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "io/text_reader.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// 床前明月光，疑是地上霜。举头望明月，低头思故乡。 in three encodings, the second with the traditional 舉頭 and 鄉.
const std::string in_utf8 = "床前明月光，疑是地上霜。举头望明月，低头思故乡。\n";
const std::string in_gbk =
    "\xB4\xB2\xC7\xB0\xC3\xF7\xD4\xC2\xB9\xE2\xA3\xAC\xD2\xC9\xCA\xC7\xB5\xD8\xC9\xCF\xCB\xAA\xA1\xA3\xBE\xD9\xCD\xB7"
    "\xCD\xFB\xC3\xF7\xD4\xC2\xA3\xAC\xB5\xCD\xCD\xB7\xCB\xBC\xB9\xCA\xCF\xE7\xA1\xA3\n";
const std::string traditional_in_utf8 = "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。\n";
const std::string in_big5 =
    "\xA7\xC9\xAB\x65\xA9\xFA\xA4\xEB\xA5\xFA\xA1\x41\xBA\xC3\xAC\x4F\xA6\x61\xA4\x57\xC1\xF7\xA1\x43\xC1\x7C\xC0\x59"
    "\xB1\xE6\xA9\xFA\xA4\xEB\xA1\x41\xA7\x43\xC0\x59\xAB\xE4\xAC\x47\xB6\x6D\xA1\x43\n";

class TextEncodingTest : public testing::Test {
 protected:
  ~TextEncodingTest() override { std::filesystem::remove(file_); }
  std::string read(const std::string& bytes, std::string_view encoding) {
    std::ofstream(file_, std::ios::binary) << bytes;
    TextReader reader(file_, encoding, std::size_t{1} << 20);
    std::string text;
    for (auto line = reader.next_line(); !line.empty(); line = reader.next_line()) text += line;
    return text;
  }
  std::string refusal(const std::string& bytes, std::string_view encoding) {
    try {
      read(bytes, encoding);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input);
      return error.what();
    }
    return "";
  }
  std::filesystem::path file_ = std::filesystem::path(testing::TempDir()) / fmt::format("text-{}.txt", ::getpid());
};

std::string times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

TEST_F(TextEncodingTest, ReadsWhatIsGiven) {
  EXPECT_EQ(read(in_gbk, "gb18030"), in_utf8);
  EXPECT_EQ(read(in_big5, "big5"), traditional_in_utf8);
}

TEST_F(TextEncodingTest, DetectsWhatIsNotGiven) {
  EXPECT_EQ(read(times(5, in_utf8), "auto"), times(5, in_utf8));
  EXPECT_EQ(read("only ASCII\n", "auto"), "only ASCII\n");
  EXPECT_EQ(read(times(5, in_gbk), "auto"), times(5, in_utf8));
  EXPECT_EQ(read(times(5, in_big5), "auto"), times(5, traditional_in_utf8));
  // Cut in the midst of a character where the detector stops looking.
  EXPECT_EQ(read("ab" + times(8000, in_utf8), "auto"), "ab" + times(8000, in_utf8));
}

TEST_F(TextEncodingTest, BlocksMayEndAnywhere) {
  for (const std::string shift : {"", "a"}) {
    const std::string text = shift + times(25000, in_big5);
    EXPECT_TRUE(read(text, "big5") == shift + times(25000, traditional_in_utf8)) << shift;
  }
}

TEST_F(TextEncodingTest, RefusesWhatIsOfNoneNamingFileAndByte) {
  EXPECT_THAT(refusal(in_gbk, "big5"), HasSubstr("is not Big5"));
  EXPECT_THAT(refusal(in_big5 + "\xA4\x20\n", "big5"),
              AllOf(HasSubstr(file_.string()), HasSubstr(fmt::format("byte {} is not Big5", in_big5.size()))));
  EXPECT_THAT(refusal(times(30000, in_big5) + "\x80", "big5"),
              HasSubstr(fmt::format("byte {} is not Big5", 30000 * in_big5.size())));
  EXPECT_THAT(refusal(in_utf8 + in_gbk, "utf-8"),
              AllOf(HasSubstr(fmt::format("byte {} ", in_utf8.size())), HasSubstr("gb18030"), HasSubstr("big5")));
  EXPECT_THAT(refusal("\xFF\xFE\xFD\xFC\x80\x81", "auto"), AllOf(HasSubstr(file_.string()), HasSubstr("--encoding")));
  EXPECT_THAT(refusal("text", "latin-1"), AllOf(HasSubstr("latin-1"), HasSubstr("big5")));
}

}  // namespace
}  // namespace trireme
