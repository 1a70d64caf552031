// Splits a list of blocks into pipeline stages.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace trireme {

/// What a block of an architecture costs for one sample, on one rank of the tensor axis.
struct BlockCost {
  double forward_flops = 0;  ///< a multiply-add counts two
  double parameter_bytes = 0;
  double activation_bytes = 0;  ///< kept from forward to backward
};

/// First block of each stage, and the end: stage s holds blocks [boundary[s], boundary[s + 1]).
/// The slowest stage is as fast as contiguous stages can make it (dynamic programming over all cuts; ties give the
/// earlier stages fewer blocks). Refuses more stages than blocks.
std::vector<int> partition(std::span<const BlockCost> blocks, int stages);

}  // namespace trireme
