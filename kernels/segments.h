// Segments: parts of an arena that count for themselves (the layers of LARS and LAMB), cut into tiles, so that one pass
// over the arena treats them all. A tile lies in one segment, and where a segment is cut depends on its own size alone.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/backend.h"

namespace trireme {

struct Segment {
  std::int64_t first = 0, count = 0;  ///< elements of the arena
};

/// What one thread or block takes.
struct SegmentTile {
  static constexpr std::int64_t most_elements = 8192;
  std::int64_t first = 0;
  std::int32_t count = 0;
  std::int32_t segment = 0;
};

/// i32 [tiles, 4], the bytes of SegmentTiles in the order of the segments, which are numbered as they are given.
Tensor make_tiles(Backend& backend, std::span<const Segment> segments);

/// For backends: fails unless `tiles` looks like a table of tiles.
void expect_tiles(const Tensor& tiles);
/// For backends: fails unless the tensors fit each other.
void expect_fitting(const SgdArgs& args);

}  // namespace trireme
