#include "model/pipeline/partition.h"

#include <algorithm>
#include <limits>

#include "kernels/error.h"

namespace trireme {

std::vector<int> partition(std::span<const BlockCost> blocks, int stages) {
  const auto count = static_cast<int>(blocks.size());
  if (stages < 1 || stages > count) {
    refuse("parallel.pipeline: found {} stages, expected 1 to {}, the number of blocks of the model", stages, count);
  }
  std::vector<double> before(blocks.size() + 1, 0.0);
  for (std::size_t i = 0; i < blocks.size(); ++i) before[i + 1] = before[i] + blocks[i].forward_flops;
  const auto flops = [&](int begin, int end) {
    return before[static_cast<std::size_t>(end)] - before[static_cast<std::size_t>(begin)];
  };

  // slowest[k][i]: the least possible cost of the slowest stage when blocks i to the end make k stages.
  const std::vector<double> unknown(blocks.size() + 1, std::numeric_limits<double>::infinity());
  std::vector<std::vector<double>> slowest(static_cast<std::size_t>(stages) + 1, unknown);
  slowest[0].back() = 0.0;
  for (std::size_t k = 1; k < slowest.size(); ++k) {
    for (int begin = 0; begin < count; ++begin) {
      double& best = slowest[k][static_cast<std::size_t>(begin)];
      for (int end = begin + 1; end <= count; ++end) {
        best = std::min(best, std::max(flops(begin, end), slowest[k - 1][static_cast<std::size_t>(end)]));
      }
    }
  }

  std::vector<int> boundary = {0};
  const double limit = slowest.back().front();
  for (int left = stages - 1; left >= 0; --left) {
    int end = boundary.back() + 1;
    while (slowest[static_cast<std::size_t>(left)][static_cast<std::size_t>(end)] > limit) ++end;
    boundary.push_back(end);
  }
  return boundary;
}

}  // namespace trireme
