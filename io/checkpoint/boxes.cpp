// Arithmetic on boxes of tensors.
#include <algorithm>
#include <cstring>

#include "io/checkpoint/format.h"
#include "kernels/error.h"

namespace trireme::checkpoint {
namespace {

constexpr std::size_t axes = Shape::max_rank;

/// A box with all axes, leading ones of extent 1 added: one loop serves every rank.
struct FullBox {
  std::array<std::int64_t, axes> first{}, end{}, extent{};

  explicit FullBox(const Box& box) {
    extent.fill(1);
    end.fill(1);
    for (int axis = 0; axis < box.extent.rank(); ++axis) {
      const std::size_t at = axes - static_cast<std::size_t>(box.extent.rank() - axis);
      first[at] = box.offset[static_cast<std::size_t>(axis)];
      extent[at] = box.extent[axis];
      end[at] = first[at] + extent[at];
    }
  }
  /// Memory offset of the element at these global coordinates.
  std::int64_t index(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
    return (((a - first[0]) * extent[1] + b - first[1]) * extent[2] + c - first[2]) * extent[3] + d - first[3];
  }
};

bool meet(const FullBox& one, const FullBox& other) {
  for (std::size_t axis = 0; axis < axes; ++axis) {
    if (std::max(one.first[axis], other.first[axis]) >= std::min(one.end[axis], other.end[axis])) return false;
  }
  return true;
}

std::string to_string(const Piece& piece) {
  std::string text;
  for (int axis = 0; axis < piece.box.extent.rank(); ++axis) {
    const std::int64_t first = piece.box.offset[static_cast<std::size_t>(axis)];
    text += fmt::format("{}{}:{}", text.empty() ? "" : ", ", first, first + piece.box.extent[axis]);
  }
  return fmt::format("[{}] in {}", text, piece.file);
}

void check_within(const std::string& path, const Shape& global, const Piece& piece) {
  bool within = global.rank() > 0 && piece.box.extent.rank() == global.rank();
  for (int axis = 0; within && axis < global.rank(); ++axis) {
    const std::int64_t first = piece.box.offset[static_cast<std::size_t>(axis)];
    within = first >= 0 && first + piece.box.extent[axis] <= global[axis];
  }
  if (!within) fail("{}: {} does not lie within the shape {}", path, to_string(piece), global.to_string());
}

}  // namespace

void check_tiling(const std::string& path, const StoredTensor& tensor) {
  std::int64_t covered = 0;
  std::vector<std::pair<FullBox, const Piece*>> boxes;
  for (const Piece& piece : tensor.pieces) {
    check_within(path, tensor.global, piece);
    covered += piece.box.extent.elements();
    boxes.emplace_back(piece.box, &piece);
  }
  // Sorted along the first axis, a box can only meet those that begin before its end.
  const auto first_axis = axes - static_cast<std::size_t>(tensor.global.rank());
  std::sort(boxes.begin(), boxes.end(), [first_axis](const auto& one, const auto& other) {
    return one.first.first[first_axis] < other.first.first[first_axis];
  });
  for (auto one = boxes.begin(); one != boxes.end(); ++one) {
    for (auto other = one + 1; other != boxes.end() && other->first.first[first_axis] < one->first.end[first_axis];
         ++other) {
      if (meet(one->first, other->first)) {
        fail("{}: {} and {} overlap", path, to_string(*one->second), to_string(*other->second));
      }
    }
  }
  if (covered != tensor.global.elements()) {
    fail("{}: the shards hold {} of the {} elements of {}: there is a hole", path, covered, tensor.global.elements(),
         tensor.global.to_string());
  }
}

bool overlap(const Box& one, const Box& other) { return meet(FullBox(one), FullBox(other)); }

std::int64_t copy_overlap(const Box& from_box, const float* from, const Box& to_box, float* to) {
  const FullBox source(from_box);
  const FullBox target(to_box);
  if (!meet(source, target)) return 0;
  std::array<std::int64_t, axes> first{};
  std::array<std::int64_t, axes> end{};
  for (std::size_t axis = 0; axis < axes; ++axis) {
    first[axis] = std::max(source.first[axis], target.first[axis]);
    end[axis] = std::min(source.end[axis], target.end[axis]);
  }
  const std::int64_t run = end[3] - first[3];
  for (std::int64_t a = first[0]; a < end[0]; ++a) {
    for (std::int64_t b = first[1]; b < end[1]; ++b) {
      for (std::int64_t c = first[2]; c < end[2]; ++c) {
        std::memcpy(to + target.index(a, b, c, first[3]), from + source.index(a, b, c, first[3]),
                    static_cast<std::size_t>(run) * sizeof(float));
      }
    }
  }
  return (end[0] - first[0]) * (end[1] - first[1]) * (end[2] - first[2]) * run;
}

}  // namespace trireme::checkpoint
