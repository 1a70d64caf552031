#include "model/pipeline/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "kernels/error.h"

namespace trireme {
namespace {

using testing::ElementsAre;

std::vector<BlockCost> blocks_of(const std::vector<double>& flops) {
  std::vector<BlockCost> blocks;
  for (const double each : flops) blocks.push_back({each, 0.0, 0.0});
  return blocks;
}

double slowest_stage(const std::vector<double>& flops, const std::vector<int>& boundary) {
  double slowest = 0;
  for (std::size_t s = 0; s + 1 < boundary.size(); ++s) {
    double sum = 0;
    for (int i = boundary[s]; i < boundary[s + 1]; ++i) sum += flops[static_cast<std::size_t>(i)];
    slowest = std::max(slowest, sum);
  }
  return slowest;
}

/// All ways to cut, in lexicographic order of the boundaries; the first of the best.
std::vector<int> brute_force(const std::vector<double>& flops, int stages) {
  const auto count = static_cast<int>(flops.size());
  std::vector<bool> cut(flops.size() - 1, false);
  std::fill(cut.begin(), cut.begin() + stages - 1, true);
  std::vector<int> best;
  do {
    std::vector<int> boundary = {0};
    for (int i = 1; i < count; ++i) {
      if (cut[static_cast<std::size_t>(i - 1)]) boundary.push_back(i);
    }
    boundary.push_back(count);
    if (best.empty() || slowest_stage(flops, boundary) < slowest_stage(flops, best)) best = boundary;
  } while (std::prev_permutation(cut.begin(), cut.end()));
  return best;
}

TEST(Partition, AgreesWithBruteForce) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> size(1, 11);
  std::uniform_int_distribution<int> cost(0, 9);  // whole numbers, so that ties happen and sums are exact
  for (int round = 0; round < 500; ++round) {
    std::vector<double> flops(static_cast<std::size_t>(size(random)));
    for (double& each : flops) each = cost(random);
    for (int stages = 1; stages <= static_cast<int>(flops.size()); ++stages) {
      ASSERT_EQ(partition(blocks_of(flops), stages), brute_force(flops, stages))
          << testing::PrintToString(flops) << " in " << stages;
    }
  }
}

TEST(Partition, TiesGiveEarlierStagesFewerBlocks) {
  EXPECT_THAT(partition(blocks_of({1, 1, 1, 1, 1}), 3), ElementsAre(0, 1, 3, 5));
  EXPECT_THAT(partition(blocks_of({1, 1, 1, 1}), 2), ElementsAre(0, 2, 4));
}

TEST(Partition, AHeavyHeadGetsAStageOfItsOwn) {
  EXPECT_THAT(partition(blocks_of({0, 2, 2, 2, 2, 9}), 2), ElementsAre(0, 5, 6));
}

TEST(Partition, RefusesImpossibleStages) {
  for (const int stages : {-1, 0, 3}) {
    try {
      partition(blocks_of({1, 1}), stages);
      FAIL() << "accepted " << stages;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input);
      EXPECT_THAT(error.what(), testing::HasSubstr("parallel.pipeline: found " + std::to_string(stages) +
                                                   " stages, expected 1 to 2"));
    }
  }
}

}  // namespace
}  // namespace trireme
