// The process grid: named axes over the ranks of the world. Pure arithmetic.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct GridAxis {
  std::string name;
  int size = 1;
};

/// Ranks of the world laid out along named axes, the first axis fastest: neighbours in rank (on a node) are neighbours
/// along it. Trireme uses tensor, data, pipeline in this order.
class ProcessGrid {
 public:
  /// Refuses axes of size < 1 or with equal names.
  explicit ProcessGrid(std::vector<GridAxis> axes);

  int size() const;
  const std::vector<GridAxis>& axes() const { return axes_; }
  int size_of(std::string_view axis) const;
  /// Coordinate of a rank along an axis.
  int coordinate(int rank, std::string_view axis) const;
  /// Rank at the given coordinates, in the order of the axes.
  int rank_at(const std::vector<int>& coordinates) const;
  /// Ranks that share all coordinates with `rank` but those on the named axes, in rank order.
  std::vector<int> group(int rank, const std::vector<std::string>& varying) const;

 private:
  int axis_index(std::string_view axis) const;
  std::vector<GridAxis> axes_;
};

}  // namespace trireme
