// Which part of a global tensor a rank holds. Checkpoints, tensor parallelism and resharding all speak ShardSpec.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/tensor.h"

namespace trireme {

/// A box of a global tensor.
struct ShardSpec {
  Shape global;                                        ///< shape of the whole
  std::array<std::int64_t, Shape::max_rank> offset{};  ///< first element of this rank's box, per axis
  Shape extent;                                        ///< shape of this rank's box
  int replica = 0;  ///< number of this copy among the ranks that hold the same box; copy 0 is the one to write

  bool whole() const { return extent == global; }
};

/// The box of part `part` of `parts` along `axis`, which must divide evenly. Axis -1: every part holds the whole, so
/// this is copy number `part` of it.
ShardSpec shard_of(const Shape& global, int axis, int part, int parts);

}  // namespace trireme
