// Products of small matrices that lie in the first-level cache, where the dispatch of a library costs more than the
// work. Register tiles of 6 x 16: twelve accumulators of eight floats, two of b, one of a fill AVX2's sixteen.
#pragma once

#include <cstdint>

namespace trireme {

using Lanes = float __attribute__((vector_size(32), aligned(4), may_alias));  // eight floats, at any address
constexpr std::int64_t lanes = 8;
constexpr std::int64_t columns_a_panel = 2 * lanes;

/// A matrix read one element at a time: element (i, j) is data[i * row + j * column].
struct StridedMatrix {
  const float* data;
  std::int64_t row, column;
};

template <int rows>
inline void multiply_panel(std::int64_t k, const StridedMatrix& a, const float* b, std::int64_t b_row, float* c,
                           std::int64_t c_row, bool accumulate) {
  Lanes sum[rows][2] = {};
  for (std::int64_t l = 0; l < k; ++l) {
    const auto* from = reinterpret_cast<const Lanes*>(b + l * b_row);
    const Lanes left = from[0];
    const Lanes right = from[1];
#pragma GCC unroll 6
    for (int i = 0; i < rows; ++i) {
      const float factor = a.data[i * a.row + l * a.column];
      sum[i][0] += factor * left;
      sum[i][1] += factor * right;
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < rows; ++i) {
    auto* to = reinterpret_cast<Lanes*>(c + i * c_row);
    to[0] = accumulate ? to[0] + sum[i][0] : sum[i][0];
    to[1] = accumulate ? to[1] + sum[i][1] : sum[i][1];
  }
}

/// c [m, n] = a [m, k] b [k, n], or c += a b. b and c are rows of n numbers, n a multiple of `columns_a_panel`.
inline void multiply_tiles(std::int64_t m, std::int64_t n, std::int64_t k, const StridedMatrix& a, const float* b,
                           std::int64_t b_row, float* c, std::int64_t c_row, bool accumulate) {
  for (std::int64_t j = 0; j < n; j += columns_a_panel) {
    std::int64_t i = 0;
    const auto panel = [&]<int rows>() {
      for (; i + rows <= m; i += rows)
        multiply_panel<rows>(k, {a.data + i * a.row, a.row, a.column}, b + j, b_row, c + i * c_row + j, c_row,
                             accumulate);
    };
    panel.operator()<6>();
    panel.operator()<4>();
    panel.operator()<1>();
  }
}

}  // namespace trireme
