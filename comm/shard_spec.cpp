#include "comm/shard_spec.h"

#include "kernels/error.h"

namespace trireme {

ShardSpec shard_of(const Shape& global, int axis, int part, int parts) {
  if (part < 0 || part >= parts) fail("part {} of {} parts of {} does not exist", part, parts, global.to_string());
  if (axis == -1) return {.global = global, .offset = {}, .extent = global, .replica = part};
  if (axis < 0 || axis >= global.rank()) fail("{} has no axis {}", global.to_string(), axis);
  if (global[axis] % parts != 0) fail("axis {} of {} does not divide into {} parts", axis, global.to_string(), parts);
  ShardSpec shard{.global = global, .offset = {}, .extent = global.with(axis, global[axis] / parts)};
  shard.offset[static_cast<std::size_t>(axis)] = part * shard.extent[axis];
  return shard;
}

}  // namespace trireme
