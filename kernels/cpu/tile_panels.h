// What the sources of tile products share, each compiled for its own instruction set: all of it is theirs alone.
#pragma once

#include "kernels/cpu/tile_product.h"

namespace trireme {
namespace {

/// A register tile: `rows` rows of a panel in vectors of that type.
template <typename Vector, int rows>
void multiply_panel(std::int64_t k, const StridedMatrix& a, const float* b, std::int64_t b_row, float* c,
                    std::int64_t c_row, bool accumulate) {
  constexpr int vectors = static_cast<int>(columns_a_panel * sizeof(float) / sizeof(Vector));
  Vector sum[rows][vectors] = {};
  for (std::int64_t l = 0; l < k; ++l) {
    const auto* from = reinterpret_cast<const Vector*>(b + l * b_row);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const float factor = a.data[i * a.row + l * a.column];
#pragma GCC unroll 2
      for (int j = 0; j < vectors; ++j) sum[i][j] += factor * from[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    auto* to = reinterpret_cast<Vector*>(c + i * c_row);
#pragma GCC unroll 2
    for (int j = 0; j < vectors; ++j) to[j] = accumulate ? to[j] + sum[i][j] : sum[i][j];
  }
}

/// multiply_tiles in tiles of so many rows, the largest first; the last is 1.
template <typename Vector, int... tile_rows>
void multiply_in_panels(std::int64_t m, std::int64_t n, std::int64_t k, const StridedMatrix& a, const float* b,
                        std::int64_t b_row, float* c, std::int64_t c_row, bool accumulate) {
  for (std::int64_t j = 0; j < n; j += columns_a_panel) {
    std::int64_t i = 0;
    const auto take = [&]<int rows>() {
      for (; i + rows <= m; i += rows)
        multiply_panel<Vector, rows>(k, {a.data + i * a.row, a.row, a.column}, b + j, b_row, c + i * c_row + j, c_row,
                                     accumulate);
    };
    (take.template operator()<tile_rows>(), ...);
  }
}

}  // namespace
}  // namespace trireme
