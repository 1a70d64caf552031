#include "io/sample_order.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "kernels/error.h"

namespace trireme {
namespace {

std::vector<std::int64_t> epoch_of(const SampleOrder& order, std::int64_t size, std::int64_t epoch) {
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < size; ++i) samples.push_back(order(epoch * size + i));
  return samples;
}

TEST(SampleOrder, EveryEpochVisitsEverySampleOnce) {
  std::vector<std::int64_t> sizes = {255, 256, 257, 997, 1023, 1024, 1025, 4099, 65537, 100003};
  for (std::int64_t size = 1; size <= 130; ++size) sizes.push_back(size);
  for (const std::int64_t size : sizes) {
    const SampleOrder order(size, 7);
    for (const std::int64_t epoch : {0, 1, 5}) {
      std::vector<int> seen(static_cast<std::size_t>(size), 0);
      for (const std::int64_t sample : epoch_of(order, size, epoch)) {
        ASSERT_GE(sample, 0);
        ASSERT_LT(sample, size);
        ++seen[static_cast<std::size_t>(sample)];
      }
      EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(size), 1)) << "size " << size << " epoch " << epoch;
    }
  }
}

TEST(SampleOrder, DependsOnSeedAndEpochAlone) {
  constexpr std::int64_t size = 1000;
  const auto first = epoch_of(SampleOrder(size, 7), size, 0);
  EXPECT_EQ(first, epoch_of(SampleOrder(size, 7), size, 0));
  EXPECT_NE(first, epoch_of(SampleOrder(size, 8), size, 0));
  EXPECT_NE(first, epoch_of(SampleOrder(size, 7), size, 1));
}

TEST(SampleOrder, SpreadsSamplesEvenly) {
  // Where each tenth of the places lands: ten by ten cells of about 100 each; chi-square of 81 degrees of freedom has
  // its 99.99 % point near 137, and identity would score 90,000.
  constexpr std::int64_t size = 10000;
  for (const std::uint64_t seed : {1, 2, 3}) {
    const SampleOrder order(size, seed);
    std::vector<double> cells(100, 0);
    for (std::int64_t i = 0; i < size; ++i) ++cells[static_cast<std::size_t>(i / 1000 * 10 + order(i) / 1000)];
    double chi_square = 0;
    for (const double count : cells) chi_square += (count - 100) * (count - 100) / 100;
    EXPECT_LT(chi_square, 137);
    EXPECT_GT(chi_square, 35);
  }
}

TEST(SampleOrder, NeighboursAreScattered) {
  constexpr std::int64_t size = 10000;
  const SampleOrder order(size, 3);
  double distance = 0;
  for (std::int64_t i = 1; i < size; ++i) distance += static_cast<double>(std::abs(order(i) - order(i - 1)));
  EXPECT_NEAR(distance / size, size / 3.0, size * 0.02);  // the mean distance of two independent uniform places
}

TEST(SampleOrder, ReachesHugeSizesAtOnce) {
  constexpr std::int64_t size = 1LL << 61;
  const SampleOrder order(size, 1);
  EXPECT_NE(order(0), order(1));
  EXPECT_LT(order(3 * size + 5), size);
  EXPECT_GE(order(3 * size + 5), 0);
}

TEST(SampleOrder, WithoutShuffleGoesRoundInOrder) {
  const SampleOrder order(5, 9, false);
  for (std::int64_t i = 0; i < 17; ++i) EXPECT_EQ(order(i), i % 5);
}

TEST(SampleOrder, NeedsASample) { EXPECT_THROW(SampleOrder(0, 1), Error); }

}  // namespace
}  // namespace trireme
