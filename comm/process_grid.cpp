#include "comm/process_grid.h"

#include <algorithm>

#include "kernels/error.h"

namespace trireme {

ProcessGrid::ProcessGrid(std::vector<GridAxis> axes) : axes_(std::move(axes)) {
  for (auto axis = axes_.begin(); axis != axes_.end(); ++axis) {
    if (axis->size < 1) refuse("axis {} of the process grid has size {}, expected at least 1", axis->name, axis->size);
    if (std::any_of(axes_.begin(), axis, [&](const GridAxis& other) { return other.name == axis->name; }))
      refuse("the process grid has two axes named {}", axis->name);
  }
}

int ProcessGrid::size() const {
  int product = 1;
  for (const GridAxis& axis : axes_) product *= axis.size;
  return product;
}

int ProcessGrid::axis_index(std::string_view axis) const {
  const auto found = std::find_if(axes_.begin(), axes_.end(), [&](const GridAxis& one) { return one.name == axis; });
  if (found == axes_.end()) fail("the process grid has no axis {}", axis);
  return static_cast<int>(found - axes_.begin());
}

int ProcessGrid::size_of(std::string_view axis) const { return axes_[static_cast<std::size_t>(axis_index(axis))].size; }

int ProcessGrid::coordinate(int rank, std::string_view axis) const {
  if (rank < 0 || rank >= size()) fail("rank {} is outside a process grid of {} ranks", rank, size());
  const auto index = static_cast<std::size_t>(axis_index(axis));
  for (std::size_t faster = 0; faster < index; ++faster) rank /= axes_[faster].size;
  return rank % axes_[index].size;
}

int ProcessGrid::rank_at(const std::vector<int>& coordinates) const {
  if (coordinates.size() != axes_.size())
    fail("{} coordinates for a process grid of {} axes", coordinates.size(), axes_.size());
  int rank = 0;
  for (std::size_t axis = axes_.size(); axis-- > 0;) {
    if (coordinates[axis] < 0 || coordinates[axis] >= axes_[axis].size)
      fail("coordinate {} is outside axis {} of size {}", coordinates[axis], axes_[axis].name, axes_[axis].size);
    rank = rank * axes_[axis].size + coordinates[axis];
  }
  return rank;
}

std::vector<int> ProcessGrid::group(int rank, const std::vector<std::string>& varying) const {
  std::vector<std::string_view> fixed;
  for (const GridAxis& axis : axes_) fixed.emplace_back(axis.name);
  for (const std::string& axis : varying) std::erase(fixed, axes_[static_cast<std::size_t>(axis_index(axis))].name);
  std::vector<int> members;
  for (int other = 0; other < size(); ++other) {
    const auto same = [&](std::string_view axis) { return coordinate(other, axis) == coordinate(rank, axis); };
    if (std::all_of(fixed.begin(), fixed.end(), same)) members.push_back(other);
  }
  return members;
}

}  // namespace trireme
