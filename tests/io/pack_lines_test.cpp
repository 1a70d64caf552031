// Lines that are drawn or read from pictures, and what receipts say.
#include "io/lines/pack_lines.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "io/image.h"
#include "io/lines/key_set.h"
#include "io/lines/line_dataset.h"
#include "io/lines/line_texts.h"
#include "io/lines/receipt_text.h"
#include "tests/app/support.h"
#include "tests/support/error_of.h"

namespace trireme {
namespace {

/// What a call says that refuses.
template <typename Call>
std::string refusal_of(Call call) {
  const Error error = error_of(call);
  EXPECT_EQ(error.status(), ExitStatus::invalid_input) << error.what();
  return error.what();
}

namespace fs = std::filesystem;

const fs::path zenhei = "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc";
const fs::path microhei = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc";

TEST(CapitalNumerals, AsInvoicesWriteThem) {
  EXPECT_EQ(capital_numerals(0), "零元整");
  EXPECT_EQ(capital_numerals(5), "伍分");
  EXPECT_EQ(capital_numerals(50), "伍角整");
  EXPECT_EQ(capital_numerals(100), "壹元整");
  EXPECT_EQ(capital_numerals(123456), "壹仟贰佰叁拾肆元伍角陆分");
  EXPECT_EQ(capital_numerals(100005), "壹仟元零伍分");
  EXPECT_EQ(capital_numerals(10500), "壹佰零伍元整");
  EXPECT_EQ(capital_numerals(1000000), "壹万元整");
  EXPECT_EQ(capital_numerals(10000500), "壹拾万零伍元整");
  EXPECT_EQ(capital_numerals(10000000500), "壹亿零伍元整");
  EXPECT_EQ(capital_numerals(10000500000), "壹亿零伍仟元整");
  EXPECT_EQ(capital_numerals(2030400000), "贰仟零叁拾万肆仟元整");
}

TEST(TaxNumber, ItsLastCharacterChecksTheOthers) {
  const std::string letters = "0123456789ABCDEFGHJKLMNPQRTUWXY";
  for (std::uint64_t i = 0; i < 50; ++i) {
    Draws draws(1, i);
    const std::string code = tax_number(draws);
    ASSERT_EQ(code.size(), 18U);
    int sum = 0, weight = 1;
    for (int at = 0; at < 17; ++at, weight = weight * 3 % 31)
      sum += static_cast<int>(letters.find(code[static_cast<std::size_t>(at)])) * weight;
    EXPECT_EQ((sum + static_cast<int>(letters.find(code.back()))) % 31, 0) << code;
  }
}

TEST(ReceiptField, ItsCharactersAreListed) {
  const KeySet keys(receipt_characters(), "receipts");
  std::set<std::string> fields;
  for (std::uint64_t i = 0; i < 5000; ++i) {
    Draws draws(3, i);
    const std::string field = receipt_field(draws);
    std::string unknown;
    EXPECT_FALSE(keys.encode(field, unknown).empty()) << field << " has " << unknown;
    fields.insert(field);
  }
  EXPECT_GT(fields.size(), 4500U) << "hardly two are the same";
}

TEST(KeySets, ComeFromFilesAndBlobs) {
  const test::TemporaryFolder folder;
  test::write_text(folder / "keys.txt", "天\n地\n \n");
  const KeySet keys = KeySet::read(folder / "keys.txt");
  EXPECT_EQ(keys.classes(), 4);
  std::string unknown;
  EXPECT_EQ(keys.encode("地 天", unknown), (std::vector<std::int32_t>{2, 3, 1}));
  EXPECT_TRUE(keys.encode("地人", unknown).empty());
  EXPECT_EQ(unknown, "人");
  EXPECT_EQ(KeySet(keys.blob()).decode(std::vector<std::int32_t>{1, 0, 2}), "天地");
  test::write_text(folder / "keys.txt", "天\n地人\n");
  const std::string pair = refusal_of([&] { KeySet::read(folder / "keys.txt"); });
  EXPECT_NE(pair.find("keys.txt:2"), std::string::npos) << pair;
  test::write_text(folder / "keys.txt", "天\n天\n");
  EXPECT_NE(refusal_of([&] { KeySet::read(folder / "keys.txt"); }).find("twice"), std::string::npos);
  EXPECT_NE(refusal_of([] { KeySet({.kind = "bpe", .vocabulary = 2, .model = "a"}); }).find("bpe"), std::string::npos);
}

class PackLines : public ::testing::Test {
 protected:
  PackLinesOptions receipts() const {
    return {.output = folder_ / "train.h5",
            .validation_output = folder_ / "validation.h5",
            .fonts = {zenhei},
            .validation_fonts = {microhei},
            .lines = 60,
            .validation_lines = 20,
            .threads = 2};
  }
  static std::vector<Line> lines_of(const fs::path& file) {
    LineDataset data({file});
    std::vector<Line> lines(static_cast<std::size_t>(data.lines()));
    for (std::size_t i = 0; i < lines.size(); ++i) data.read(static_cast<std::int64_t>(i), lines[i]);
    return lines;
  }
  static std::vector<std::string> texts_of(const fs::path& file) {
    const KeySet keys(LineDataset({file}).tokenizer());
    std::vector<std::string> texts;
    for (const Line& line : lines_of(file)) texts.push_back(keys.decode(line.labels));
    return texts;
  }
  /// A white picture with a dark bar.
  void write_picture(const std::string& name, int width, bool jpeg = false) const {
    Image image{.width = width, .height = 16, .channels = 1};
    image.pixels.assign(static_cast<std::size_t>(width) * 16, 255);
    for (int x = 0; x < width / 2; ++x) image.pixels[static_cast<std::size_t>(8 * width + x)] = 0;
    const auto bytes = jpeg ? encode_jpeg(image, 90) : encode_png(image);
    test::write_text(folder_ / name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  PackLinesOptions images() const {
    return {.inputs = {folder_ / "list.txt"}, .output = folder_ / "out.h5", .from = "images"};
  }
  test::TemporaryFolder folder_;
};

#define NEEDS_FONTS \
  if (!fs::exists(zenhei) || !fs::exists(microhei)) GTEST_SKIP() << "fonts-wqy-zenhei, fonts-wqy-microhei are missing"

TEST_F(PackLines, DrawsTheSameWithAnyNumberOfThreads) {
  NEEDS_FONTS;
  PackLinesOptions options = receipts();
  const PackLinesResult result = pack_lines(options);
  EXPECT_EQ(result.train.lines, 60);
  EXPECT_EQ(result.validation.lines, 20);
  EXPECT_EQ(result.faulty.all(), 0);
  const auto two = lines_of(options.output), held_out = lines_of(options.validation_output);
  const auto equal = [](const std::vector<Line>& a, const std::vector<Line>& b) {
    return std::ranges::equal(a, b, [](const Line& x, const Line& y) {
      return x.width == y.width && x.pixels == y.pixels && x.labels == y.labels;
    });
  };
  for (const int threads : {1, 5}) {
    options.threads = threads;
    pack_lines(options);
    EXPECT_TRUE(equal(lines_of(options.output), two)) << threads << " threads";
    EXPECT_TRUE(equal(lines_of(options.validation_output), held_out)) << threads << " threads";
  }
  options.seed = 2;
  pack_lines(options);
  EXPECT_FALSE(equal(lines_of(options.output), two));
}

TEST_F(PackLines, ValidationTextsAreNotInTraining) {
  NEEDS_FONTS;
  PackLinesOptions options = receipts();
  options.lines = 300, options.validation_lines = 100, options.distortion = 0;
  pack_lines(options);
  const auto train = texts_of(options.output);
  const std::set<std::string> known(train.begin(), train.end());
  for (const std::string& text : texts_of(options.validation_output)) EXPECT_FALSE(known.contains(text)) << text;
}

TEST_F(PackLines, LinesShowInkOfTheirText) {
  NEEDS_FONTS;
  PackLinesOptions options = receipts();
  options.distortion = 0;
  pack_lines(options);
  for (const Line& line : lines_of(options.output)) {
    const auto [darkest, lightest] = std::ranges::minmax(line.pixels);
    EXPECT_LT(darkest, 60);
    EXPECT_EQ(lightest, 255);
    EXPECT_GE(line.width, 5 * static_cast<int>(line.labels.size())) << "every character takes room";
  }
}

TEST_F(PackLines, TextIsCutIntoPiecesOfItsParagraphs) {
  NEEDS_FONTS;
  std::string text;
  for (int i = 0; i < 200; ++i) text += "第" + std::to_string(i) + "段：天地玄黄，宇宙洪荒。日月盈昃，辰宿列张\r\n";
  test::write_text(folder_ / "text.txt", text);
  PackLinesOptions options = receipts();
  options.from = "text", options.inputs = {folder_ / "text.txt"}, options.longest = 9, options.validation_share = 0.2;
  pack_lines(options);
  for (const std::string& piece : texts_of(options.output)) {
    EXPECT_NE(text.find(piece), std::string::npos) << piece;
    EXPECT_LE(piece.size(), 27U);
  }
}

TEST_F(PackLines, CharactersOutsideTheKeySetAreNamed) {
  NEEDS_FONTS;
  test::write_text(folder_ / "text.txt", "天地玄黄\n天地人黄\n");
  test::write_text(folder_ / "keys.txt", "天\n地\n玄\n黄\n");
  PackLinesOptions options = receipts();
  options.from = "text", options.inputs = {folder_ / "text.txt"}, options.characters = folder_ / "keys.txt";
  options.validation_output.clear();
  std::vector<std::string> faults;
  const PackLinesResult result = pack_lines(options, [&](const std::string& fault) { faults.push_back(fault); });
  EXPECT_GT(result.faulty.unknown, 0);
  EXPECT_EQ(result.faulty.unknown + result.train.lines, 60);
  ASSERT_FALSE(faults.empty());
  EXPECT_NE(faults[0].find("text.txt:2"), std::string::npos) << faults[0];
  EXPECT_NE(faults[0].find("人"), std::string::npos) << faults[0];
  options.faulty = "refuse";
  EXPECT_NE(refusal_of([&] { pack_lines(options); }).find("text.txt:2"), std::string::npos);
}

TEST_F(PackLines, AGlyphThatNoFontHasIsCounted) {
  NEEDS_FONTS;
  test::write_text(folder_ / "text.txt", "天地玄黄\n天地\U000E0041黄\n");
  PackLinesOptions options = receipts();
  options.from = "text", options.inputs = {folder_ / "text.txt"}, options.validation_output.clear();
  const PackLinesResult result = pack_lines(options);
  EXPECT_GT(result.faulty.glyphless, 0);
  EXPECT_EQ(result.faulty.glyphless + result.train.lines, 60);
}

TEST_F(PackLines, WrongOptionsAreRefused) {
  PackLinesOptions options = receipts();
  options.fonts = {folder_ / "none.ttf"};
  EXPECT_NE(refusal_of([&] { pack_lines(options); }).find("none.ttf"), std::string::npos);
  test::write_text(folder_ / "none.ttf", "no font");
  EXPECT_NE(refusal_of([&] { pack_lines(options); }).find("none.ttf"), std::string::npos);
  options.fonts.clear();
  EXPECT_NE(refusal_of([&] { pack_lines(options); }).find("pack.fonts"), std::string::npos);
  options = receipts();
  options.validation_output = options.output;
  EXPECT_NE(refusal_of([&] { pack_lines(options); }).find("pack.validation_output"), std::string::npos);
}

TEST_F(PackLines, PicturesComeWithTheirLabels) {
  write_picture("a.png", 40);
  write_picture("b.jpg", 64, true);
  test::write_text(folder_ / "list.txt", "a.png\t天地\nb.jpg\t人\n");
  const PackLinesResult result = pack_lines(images());
  EXPECT_EQ(result.train.lines, 2);
  EXPECT_EQ(result.classes, 4);
  EXPECT_EQ(texts_of(folder_ / "out.h5"), (std::vector<std::string>{"天地", "人"}));
  const auto lines = lines_of(folder_ / "out.h5");
  EXPECT_EQ(lines[0].width, 80) << "twice as high, twice as wide";
  EXPECT_LT(lines[0].pixels[17 * 80 + 10], 140) << "the bar";
  EXPECT_GT(lines[0].pixels[17 * 80 + 70], 240);
}

TEST_F(PackLines, FaultyPicturesAreCountedNamedAndSkippedOrRefused) {
  write_picture("good.png", 40);
  write_picture("narrow.png", 3);
  test::write_text(folder_ / "broken.png", "\x89PNG\r\n\x1a\n and no more");
  const std::string list = "good.png\t天地\nbroken.png\t天\nmissing.png\t天\ngood.png\nnarrow.png\t天地天地天地\n";
  test::write_text(folder_ / "list.txt", list);
  std::vector<std::string> faults;
  const PackLinesResult result = pack_lines(images(), [&](const std::string& fault) { faults.push_back(fault); });
  EXPECT_EQ(result.train.lines, 1);
  EXPECT_EQ(result.faulty.undecodable, 2);
  EXPECT_EQ(result.faulty.unlabelled, 1);
  EXPECT_EQ(result.faulty.unfit, 1);
  ASSERT_EQ(faults.size(), 4U);
  EXPECT_NE(faults[0].find("list.txt:2"), std::string::npos) << faults[0];
  EXPECT_NE(faults[0].find("broken.png"), std::string::npos) << faults[0];
  EXPECT_NE(faults[1].find("missing.png"), std::string::npos) << faults[1];
  EXPECT_NE(faults[2].find("list.txt:4"), std::string::npos) << faults[2];
  PackLinesOptions strict = images();
  strict.faulty = "refuse";
  EXPECT_NE(refusal_of([&] { pack_lines(strict); }).find("broken.png"), std::string::npos);
  EXPECT_TRUE(fs::exists(folder_ / "out.h5")) << "what was there stays";
}

TEST_F(PackLines, AFoldersPicturesWithoutLabelAreMissed) {
  fs::create_directory(folder_ / "lines");
  write_picture("lines/a.png", 40);
  write_picture("lines/b.png", 40);
  test::write_text(folder_ / "lines/train.txt", "a.png\t天\n");
  PackLinesOptions options = images();
  options.inputs = {folder_ / "lines"};
  const PackLinesResult result = pack_lines(options);
  EXPECT_EQ(result.train.lines, 1);
  EXPECT_EQ(result.faulty.unlabelled, 1);
}

}  // namespace
}  // namespace trireme
