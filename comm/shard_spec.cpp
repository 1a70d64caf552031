#include "comm/shard_spec.h"

#include "kernels/error.h"

namespace trireme {
namespace {

Shape with_extent(const Shape& shape, int axis, std::int64_t extent) {
  const auto at = [&](int index) { return index == axis ? extent : shape[index]; };
  switch (shape.rank()) {
    case 1:
      return {at(0)};
    case 2:
      return {at(0), at(1)};
    case 3:
      return {at(0), at(1), at(2)};
    default:
      return {at(0), at(1), at(2), at(3)};
  }
}

}  // namespace

ShardSpec shard_of(const Shape& global, int axis, int part, int parts) {
  if (part < 0 || part >= parts) fail("part {} of {} parts of {} does not exist", part, parts, global.to_string());
  if (axis == -1) return {.global = global, .offset = {}, .extent = global, .replica = part};
  if (axis < 0 || axis >= global.rank()) fail("{} has no axis {}", global.to_string(), axis);
  if (global[axis] % parts != 0) fail("axis {} of {} does not divide into {} parts", axis, global.to_string(), parts);
  ShardSpec shard{.global = global, .offset = {}, .extent = with_extent(global, axis, global[axis] / parts)};
  shard.offset[static_cast<std::size_t>(axis)] = part * shard.extent[axis];
  return shard;
}

}  // namespace trireme
