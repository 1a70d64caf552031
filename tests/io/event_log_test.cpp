#include "io/telemetry/event_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/event_files.h"

namespace trireme {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Pair;

TEST(MaskedCrc32c, OfTheKnownCheckValue) {
  // The CRC-32C of these digits is e3069283 (RFC 3720 names the polynomial); masked by TFRecord's rule.
  constexpr std::uint32_t crc = 0xe3069283U;
  EXPECT_EQ(masked_crc32c("123456789"), (crc >> 15 | crc << 17) + 0xa282ead8U);
}

TEST(HistogramOf, CountsEachValueOnce) {
  const std::vector<float> values = {0, 1, 2, 3, 4, 4, std::nanf(""), std::numeric_limits<float>::infinity()};
  const Histogram histogram = histogram_of(values, 4);
  EXPECT_THAT(histogram.edges, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(histogram.counts, ElementsAre(1, 1, 1, 3));  // the greatest belongs to the last range
  EXPECT_EQ(histogram.count, 6);
  EXPECT_EQ(histogram.sum, 14);
  EXPECT_EQ(histogram.sum_of_squares, 46);
}

TEST(HistogramOf, EqualValuesAndNone) {
  const Histogram equal = histogram_of(std::vector<float>{2, 2, 2}, 4);
  EXPECT_EQ(equal.edges.front(), 2);
  EXPECT_GT(equal.edges.back(), 2);
  EXPECT_THAT(equal.counts, ElementsAre(3, 0, 0, 0));
  EXPECT_EQ(histogram_of(std::vector<float>{std::nanf("")}).count, 0);
}

/// What a log of a text and a picture holds, by an independent reader; `text` as it lies there.
void expect_text_and_picture(const test::Told& told, const std::string& text) {
  ASSERT_THAT(told.texts, ElementsAre(Key("samples/0")));
  EXPECT_THAT(told.texts.at("samples/0"), ElementsAre(Pair(7, text), Pair(300, "    ")));
  ASSERT_THAT(told.pictures, ElementsAre(Key("samples/0/picture")));
  const std::string& encoded = told.pictures.at("samples/0/picture").at(7);
  const Image image = decode_image(std::as_bytes(std::span(encoded)), 1, "picture");
  EXPECT_EQ(image.width, 3);
  EXPECT_EQ(image.height, 2);
  EXPECT_THAT(image.pixels, ElementsAre(0, 10, 20, 30, 40, 255));
}

TEST(EventLogs, TextsAndPicturesAreReadBack) {
  const Image image{.width = 3, .height = 2, .channels = 1, .pixels = {0, 10, 20, 30, 40, 255}};
  const auto folder = std::filesystem::temp_directory_path() / ("trireme-events-" + std::to_string(::getpid()));
  const auto write = [&](const std::unique_ptr<EventLog>& log, const std::string& last) {
    log->text("samples/0", 7, 1e9, "天地\n# 玄黄");
    log->image("samples/0/picture", 7, 1e9, image);
    log->text("samples/0", 300, 1e9, last);
    log->flush();
  };
  write(make_tensorboard_log(folder / "tb", "log.tensorboard", 1), "");
  expect_text_and_picture(test::read_tensorboard(folder / "tb"), "    天地\n    # 玄黄");  // Markdown leaves it alone
  write(make_visualdl_log(folder / "vdl", "log.visualdl", 1), "    ");
  expect_text_and_picture(test::read_visualdl(folder / "vdl"), "天地\n# 玄黄");
  make_visualdl_log(folder / "vdl", "log.visualdl", 8);  // a run that goes on from step 7
  EXPECT_THAT(test::read_visualdl(folder / "vdl").texts.at("samples/0"), ElementsAre(Key(7)));
  std::filesystem::remove_all(folder);
}

TEST(EventLogs, AFolderThatCannotBeIsRefused) {
  const Error error = error_of([] { make_tensorboard_log("/dev/null/pictures", "log.tensorboard", 1); });
  EXPECT_EQ(error.status(), ExitStatus::invalid_input);
  EXPECT_THAT(error.what(), HasSubstr("log.tensorboard=/dev/null/pictures"));
}

}  // namespace
}  // namespace trireme
