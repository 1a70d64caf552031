#include "io/telemetry/event_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/support/error_of.h"

namespace trireme {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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

TEST(EventLogs, AFolderThatCannotBeIsRefused) {
  const Error error = error_of([] { make_tensorboard_log("/dev/null/pictures", "log.tensorboard", 1); });
  EXPECT_EQ(error.status(), ExitStatus::invalid_input);
  EXPECT_THAT(error.what(), HasSubstr("log.tensorboard=/dev/null/pictures"));
}

}  // namespace
}  // namespace trireme
