// Sums over the rows of matrices, added to f32 vectors: gradients of biases, of norms' weights and of positions. Two
// steps in a fixed order: every block sums a part of the rows, then the parts are summed. For .cu files.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"

namespace trireme::cuda {

/// Where the sums are added, f32 [n] each; null: nowhere.
template <int sums>
struct ColumnOutputs {
  float* out[sums];
};

constexpr int column_warps = 8;

/// A block sums rows_a_part rows of 32 * width columns; each warp takes every eighth row, four at a time. `Terms` is
/// copied to the device:
///   static constexpr int sums, width;         how many sums a column has; columns that a thread sums
///   Item load(row, column) const;             what the terms of `width` columns need
///   void add(item, float (&total)[sums][width]) const;
/// Writes partial [parts, sums, n], or adds to the outputs where there is one part only.
template <typename Terms>
__global__ void __launch_bounds__(column_warps* warp_size)
    sum_columns(Terms terms, std::int64_t rows, std::int64_t n, std::int64_t rows_a_part, float* partial,
                ColumnOutputs<Terms::sums> outputs) {
  constexpr int sums = Terms::sums;
  constexpr int width = Terms::width;
  constexpr int columns = warp_size * width;
  constexpr int batch = 4;
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const std::int64_t first_column = std::int64_t{blockIdx.x} * columns;
  const std::int64_t column = first_column + lane * width;
  const std::int64_t first = blockIdx.y * rows_a_part;
  const std::int64_t last = first + rows_a_part < rows ? first + rows_a_part : rows;
  float total[sums][width] = {};
  if (column < n) {
    for (std::int64_t row = first + warp; row < last; row += column_warps * batch) {
      typename Terms::Item items[batch];
      unrolled<batch>([&](int i) {
        if (row + i * column_warps < last) items[i] = terms.load(row + i * column_warps, column);
      });
      unrolled<batch>([&](int i) {
        if (row + i * column_warps < last) terms.add(items[i], total);
      });
    }
  }
  __shared__ float shared[column_warps][sums][columns];
  for (int sum = 0; sum < sums; ++sum)
    for (int i = 0; i < width; ++i) shared[warp][sum][lane * width + i] = total[sum][i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < sums * columns; i += column_warps * warp_size) {
    const int sum = i / columns;
    const std::int64_t at = first_column + i % columns;
    if (at >= n) continue;
    float all = 0.0F;
    for (int from = 0; from < column_warps; ++from) all += shared[from][sum][i % columns];
    if (gridDim.y > 1)
      partial[(std::int64_t{blockIdx.y} * sums + sum) * n + at] = all;
    else if (outputs.out[sum] != nullptr)
      outputs.out[sum][at] += all;
  }
}

constexpr int part_warps = 16;

/// out[s] += sum over parts of partial [parts, sums, n]; blockIdx.y is s, each warp takes every sixteenth part.
template <int sums>
__global__ void __launch_bounds__(part_warps* warp_size)
    add_column_parts(const float* partial, std::int64_t parts, std::int64_t n, ColumnOutputs<sums> outputs) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int sum = static_cast<int>(blockIdx.y);
  const std::int64_t column = std::int64_t{blockIdx.x} * warp_size + lane;
  float total = 0.0F;
  if (column < n)
    for (std::int64_t part = warp; part < parts; part += part_warps) total += partial[(part * sums + sum) * n + column];
  __shared__ float shared[part_warps][warp_size];
  shared[warp][lane] = total;
  __syncthreads();
  if (warp > 0 || column >= n || outputs.out[sum] == nullptr) return;
  for (int from = 1; from < part_warps; ++from) total += shared[from][lane];
  outputs.out[sum][column] += total;
}

/// Adds the sums of `terms` over [rows, n] to the outputs. The number of parts follows from the sizes alone: about a
/// thousand blocks, which fill any GPU, of at least 32 rows.
template <typename Terms>
void add_columns(Backend& backend, cudaStream_t stream, const Terms& terms, std::int64_t rows, std::int64_t n,
                 const ColumnOutputs<Terms::sums>& outputs) {
  if (rows == 0 || n == 0) return;
  constexpr std::int64_t columns = warp_size * Terms::width;
  const std::int64_t strips = (n + columns - 1) / columns;
  const std::int64_t wanted = std::clamp<std::int64_t>(rows / 32, 1, std::max<std::int64_t>(1, 1024 / strips));
  const std::int64_t rows_a_part = (rows + wanted - 1) / wanted;
  const std::int64_t parts = (rows + rows_a_part - 1) / rows_a_part;
  const Tensor scratch = parts > 1 ? backend.allocate({parts, Terms::sums, n}, DType::f32) : Tensor();
  float* partial = writable<float>(scratch);
  launch(sum_columns<Terms>, dim3(static_cast<unsigned>(strips), static_cast<unsigned>(parts)),
         dim3(column_warps * warp_size), stream, terms, rows, n, rows_a_part, partial, outputs);
  if (parts == 1) return;
  launch(add_column_parts<Terms::sums>, dim3(blocks_for(n, warp_size, n), Terms::sums), dim3(part_warps * warp_size),
         stream, partial, parts, n, outputs);
}

/// Terms of plain column sums of x [rows, n].
template <typename T, int width_>
struct PlainTerms {
  static constexpr int sums = 1;
  static constexpr int width = width_;
  using Item = Piece<T, width>;

  const T* x;
  std::int64_t n;

  __device__ __forceinline__ Item load(std::int64_t row, std::int64_t column) const {
    return load_piece<width>(x + row * n + column);
  }
  __device__ __forceinline__ void add(const Item& item, float (&total)[sums][width]) const {
    for (int i = 0; i < width; ++i) total[0][i] += to_f32(item.values[i]);
  }
};

}  // namespace trireme::cuda
