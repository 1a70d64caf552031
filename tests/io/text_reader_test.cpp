#include "io/text_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "kernels/error.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TextReaderTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(file_); }

  std::vector<std::string> lines(const std::string& bytes, std::string_view encoding = "utf-8",
                                 std::size_t longest = std::size_t{1} << 20) {
    std::ofstream(file_, std::ios::binary) << bytes;
    TextReader reader(file_, encoding, longest);
    std::vector<std::string> found;
    for (auto line = reader.next_line(); !line.empty(); line = reader.next_line()) found.emplace_back(line);
    EXPECT_EQ(reader.bytes_read(), static_cast<std::int64_t>(bytes.size()));
    return found;
  }

  std::string refusal(const std::string& bytes, std::string_view encoding) {
    try {
      lines(bytes, encoding);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input);
      return error.what();
    }
    return "";
  }

  std::filesystem::path file_ =
      std::filesystem::path(testing::TempDir()) /
      fmt::format("{}-{}.txt", testing::UnitTest::GetInstance()->current_test_info()->name(), ::getpid());
};

TEST_F(TextReaderTest, SplitsLines) {
  EXPECT_THAT(lines(""), ElementsAre());
  EXPECT_THAT(lines("a\n\n船\r\nb\r"), ElementsAre("a\n", "\n", "船\n", "b\r"));
}

TEST_F(TextReaderTest, DropsTheByteOrderMark) {
  EXPECT_THAT(lines("\xEF\xBB\xBF船\n\xEF\xBB\xBF"), ElementsAre("船\n", "\xEF\xBB\xBF"));
  EXPECT_THAT(lines("\xEF\xBB\xBF"), ElementsAre());
  EXPECT_THAT(lines("\x84\x31\x95\x33\xB4\xAC", "gb18030"), ElementsAre("船"));
}

TEST_F(TextReaderTest, DecodesGb18030) {
  // 船 in two bytes, 𠮷 in four, ASCII in one.
  EXPECT_THAT(lines("\xB4\xAC\n\x95\x34\xB2\x35"
                    "x\r\n",
                    "gb18030"),
              ElementsAre("船\n", "𠮷x\n"));
}

TEST_F(TextReaderTest, KeepsCharactersWholeAcrossBlocks) {
  std::string text, gb;
  for (int i = 0; i < 400'000; ++i) text += "船", gb += "\xB4\xAC";
  for (const char* shift : {"", "a", "ab", "abc"}) {
    for (const auto& [bytes, encoding] : {std::pair{text, "utf-8"}, {gb + gb, "gb18030"}}) {
      std::string whole;
      for (const std::string& part : lines(shift + bytes, encoding)) whole += part;
      EXPECT_TRUE(whole == shift + (encoding == std::string("utf-8") ? text : text + text));
    }
  }
}

TEST_F(TextReaderTest, CutsLongLinesBetweenCharacters) {
  EXPECT_THAT(lines("船船船\nab\n", "utf-8", 7), ElementsAre("船船", "船\n", "ab\n"));
}

TEST_F(TextReaderTest, NamesFileAndPlaceOfWhatIsNotOfTheEncoding) {
  const std::string many(1'500'000, 'a');
  EXPECT_THAT(refusal(many + "\xB4\xAC\xC9\xBD\n", "utf-8"),
              AllOf(HasSubstr(file_.string()), HasSubstr("byte 1500000 "), HasSubstr("--encoding=gb18030")));
  EXPECT_THAT(refusal("ab\xE8\x88", "utf-8"), HasSubstr("byte 2 "));
  EXPECT_THAT(refusal(many + "\xFF\xFF", "gb18030"),
              AllOf(HasSubstr(file_.string()), HasSubstr("byte 1500000 "), HasSubstr("--encoding=utf-8")));
  EXPECT_THAT(refusal("ab\xB4", "gb18030"), HasSubstr("byte 2 "));
}

TEST_F(TextReaderTest, RefusesMissingFilesAndOtherEncodings) {
  EXPECT_THROW(TextReader(file_ / "absent", "utf-8", 100), Error);
  EXPECT_THAT(refusal("a", "latin-1"), HasSubstr("latin-1"));
}

}  // namespace
}  // namespace trireme
