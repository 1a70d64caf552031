#include "kernels/segments.h"

#include <algorithm>
#include <vector>

#include "kernels/error.h"
#include "kernels/expect.h"

namespace trireme {
Tensor make_tiles(Backend& backend, std::span<const Segment> segments) {
  static_assert(sizeof(SegmentTile) == 4 * sizeof(std::int32_t));
  std::vector<SegmentTile> tiles;
  for (std::size_t number = 0; number < segments.size(); ++number) {
    const Segment& segment = segments[number];
    for (std::int64_t from = 0; from < segment.count; from += SegmentTile::most_elements)
      tiles.push_back({.first = segment.first + from,
                       .count = static_cast<std::int32_t>(std::min(SegmentTile::most_elements, segment.count - from)),
                       .segment = static_cast<std::int32_t>(number)});
  }
  Tensor table = backend.allocate({static_cast<std::int64_t>(tiles.size()), 4}, DType::i32);
  if (!tiles.empty()) backend.upload(tiles.data(), table);
  return table;
}

void expect_tiles(const Tensor& tiles) {
  if (tiles.dtype() != DType::i32 || tiles.shape().rank() != 2 || tiles.shape()[1] != 4)
    fail("tiles of segments are {} {}, expected {} [tiles, 4]", name_of(tiles.dtype()), tiles.shape().to_string(),
         name_of(DType::i32));
}

void expect_fitting(const SgdArgs& args) {
  const std::int64_t count = args.value.elements();
  expect_elements("sgd value", args.value, count, DType::f32);
  expect_elements("sgd gradient", args.gradient, count, DType::f32);
  if (!args.velocity.empty()) expect_elements("sgd velocity", args.velocity, count, DType::f32);
  if (args.velocity.empty() && args.momentum != 0.0) fail("sgd: momentum {} without a velocity", args.momentum);
  if (!args.working.empty()) expect_elements("sgd working", args.working, count, DType::bf16);
  if (!args.decay_mask.empty()) expect_elements("sgd decay_mask", args.decay_mask, (count + 511) / 512, DType::i32);
  if (!args.value_squares.empty())
    expect_elements("sgd gradient_squares", args.gradient_squares, args.value_squares.elements(), DType::f64);
  expect_tiles(args.tiles);
}

}  // namespace trireme
