// Products of small matrices that lie in the first-level cache, where the dispatch of a library costs more than the
// work.
#pragma once

#include <cstdint>

namespace trireme {

constexpr std::int64_t columns_a_panel = 16;

/// A matrix read one element at a time: element (i, j) is data[i * row + j * column].
struct StridedMatrix {
  const float* data;
  std::int64_t row, column;
};

/// c [m, n] = a [m, k] b [k, n], or c += a b. b and c are rows of n numbers, n a multiple of `columns_a_panel`. Every
/// sum runs over k in order, whatever m and the processor are.
void multiply_tiles(std::int64_t m, std::int64_t n, std::int64_t k, const StridedMatrix& a, const float* b,
                    std::int64_t b_row, float* c, std::int64_t c_row, bool accumulate);

}  // namespace trireme
