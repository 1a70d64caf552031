// What `trireme pack` says of wrong input: each fault is counted, named and left out, or refused, as configured.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/app/line_support.h"

namespace trireme {
namespace {

using test::ProcessResult;
using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string sky_and_earth_in_gb18030 = "\xCC\xEC\xB5\xD8";  // 天地

class PackFaults : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    test::write_text(folder_ / name, text);
  }
  ProcessResult pack(const std::string& what) const {
    return test::run_trireme("pack " + what + " --output=" + path("out.h5"));
  }
  void expect_refused(const std::string& what, const std::vector<std::string>& words) const {
    const ProcessResult result = pack(what);
    EXPECT_EQ(result.status, 2) << what << "\n" << result.err;
    for (const std::string& word : words) EXPECT_THAT(result.err, HasSubstr(word)) << what;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5")) << what;
  }

  test::TemporaryFolder folder_;
};

TEST_F(PackFaults, OfLinesAreCountedNamedAndSkippedOrRefused) {
  test::write_picture(folder_ / "good.png", "ab");
  write("broken.png", "no picture");
  write("list.txt",
        "good.png\tab\nbroken.png\tab\nmissing.png\tab\ngood.png\ngood.png\tab!\ngood.png\tabababababababababab\n");
  write("keys.txt", "a\nb\n");
  const std::string list = "ocr --from=images --input=" + path("list.txt") + " --characters=" + path("keys.txt");
  expect_refused(list + " --faulty=refuse", {"list.txt:2", "broken.png", "pack.faulty=skip"});
  const ProcessResult result = pack(list);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("list.txt:2: " + path("broken.png")), HasSubstr("missing.png"),
                                HasSubstr("list.txt:4: the label is missing"),
                                HasSubstr("list.txt:5: the character '!' is outside the key set"),
                                HasSubstr("list.txt:6: 32 pixels are too narrow for 20 characters")));
  EXPECT_THAT(result.out, AllOf(HasSubstr("1 lines of 2 characters"),
                                HasSubstr("5 lines: 2 do not decode, 1 have no label, 1 have a character outside the "
                                          "key set, 0 have one that no font has, 1 do not fit")));
  write("keys.txt", "a\nab\n");
  std::filesystem::remove(folder_ / "out.h5");
  expect_refused(list, {"keys.txt:2", "one character a line"});
  write("list.txt", "broken.png\tab\n");
  write("keys.txt", "a\nb\n");
  expect_refused(list, {"not one of 1 lines", "1 do not decode"});
}

TEST_F(PackFaults, OfImagesAreCountedNamedAndSkippedOrRefused) {
  std::filesystem::create_directories(folder_ / "set" / "a");
  test::write_picture(folder_ / "set" / "a" / "good.png", "ab");
  write("set/a/broken.png", "no picture");
  const std::string images = "images --input=" + path("set");
  expect_refused(images + " --broken=refuse", {path("set/a/broken.png")});
  const ProcessResult result = pack(images);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err + result.out, AllOf(HasSubstr(path("set/a/broken.png")), HasSubstr("1")));
  std::filesystem::remove(folder_ / "out.h5");
  test::write_picture(folder_ / "set" / "stray.png", "ab");
  expect_refused(images, {path("set/stray.png"), "without a label"});
}

TEST_F(PackFaults, OfAnEncodingAreRefusedNamingFileByteAndWhatToSay) {
  test::write_picture(folder_ / "good.png", "ab");
  write("list.txt", "good.png\tab\ngood.png\t" + sky_and_earth_in_gb18030 + "\n");
  write("text.txt", "ab\n" + sky_and_earth_in_gb18030 + "\n");
  const std::string list = "ocr --from=images --input=" + path("list.txt");
  expect_refused(list, {"list.txt: byte 21 is not UTF-8", "--encoding=gb18030"});
  expect_refused("ocr --from=text --fonts=none.ttf --input=" + path("text.txt"), {"text.txt: byte 3 is not UTF-8"});
  expect_refused("text --tokenizer=characters --input=" + path("text.txt"),
                 {"text.txt: byte 3 is not UTF-8", "--encoding=gb18030"});
  // Said so, it is read; a key file may be of another encoding.
  write("keys.txt", "a\nb\n天\n地\n");
  const ProcessResult result = pack(list + " --encoding=gb18030 --characters=" + path("keys.txt"));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("2 lines of 4 characters"));
}

TEST_F(PackFaults, OfLabelsAreRefusedNamingTheLine) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "白日依山尽，黄河入海流" + std::to_string(i) + "\n";
  write("text.txt", text);
  ASSERT_EQ(test::run_trireme("pack text --tokenizer=wordpiece --vocabulary=100 --input=" + path("text.txt") +
                              " --output=" + path("text.h5"))
                .status,
            0);
  const std::string labels = "labels --tokenizer-from=" + path("text.h5") + " --input=" + path("labels.tsv");
  write("labels.tsv", "poem\t白日依山尽\n黄河入海流\n");
  expect_refused(labels, {"labels.tsv:2", "label is missing"});
  write("labels.tsv", "poem\t" + sky_and_earth_in_gb18030 + "\n");
  expect_refused(labels, {"labels.tsv: byte 5 is not UTF-8", "--encoding=gb18030"});
  write("labels.tsv", "poem\t白日依山尽\n");
  EXPECT_EQ(pack(labels).status, 0);
}

}  // namespace
}  // namespace trireme
