// What both passes of attention share. Score tiles are stored with the keys as rows, [keys, queries]: then every
// product has contiguous rows on its right, and the softmax runs across lanes.
#pragma once

#include <array>
#include <limits>

#include "kernels/backend.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/cpu/vector.h"

namespace trireme::attention_tiles {

constexpr std::int64_t tile = 64;
using TileRow = std::array<float, tile>;  // a number for each query of a tile

/// Sizes, and where heads lie in the rows of packed and unpacked tensors.
struct Layout {
  explicit Layout(const AttentionArgs& args)
      : batch(args.qkv.shape()[0]),
        time(args.qkv.shape()[1]),
        heads(args.heads),
        key_value_heads(args.key_value_heads),
        size(args.head_size),
        padded((size + columns_a_panel - 1) / columns_a_panel * columns_a_panel),
        lengths(data_or_null<std::int32_t>(args.lengths)) {
    if (args.qkv.shape().rank() != 3 || key_value_heads < 1 || heads % key_value_heads != 0 || size < 1 ||
        args.qkv.shape()[2] != packed_row())
      fail("attention: qkv {} does not hold {} query and 2 x {} key and value heads of {}",
           args.qkv.shape().to_string(), heads, key_value_heads, size);
    expect_elements("attention out", args.out, batch * time * out_row());
    expect_elements("attention log_sum_exp", args.log_sum_exp, batch * heads * time);
    if (lengths != nullptr) expect_elements("attention lengths", args.lengths, batch);
  }
  std::int64_t group() const { return heads / key_value_heads; }
  std::int64_t packed_row() const { return (heads + 2 * key_value_heads) * size; }
  std::int64_t out_row() const { return heads * size; }
  std::int64_t query(std::int64_t b, std::int64_t t, std::int64_t head) const {
    return (b * time + t) * packed_row() + head * size;
  }
  std::int64_t key(std::int64_t b, std::int64_t t, std::int64_t head) const { return query(b, t, heads + head); }
  std::int64_t value(std::int64_t b, std::int64_t t, std::int64_t head) const {
    return query(b, t, heads + key_value_heads + head);
  }
  std::int64_t out(std::int64_t b, std::int64_t t, std::int64_t head) const {
    return (b * time + t) * out_row() + head * size;
  }
  std::int64_t statistic(std::int64_t b, std::int64_t t, std::int64_t head) const {
    return (b * heads + head) * time + t;
  }
  std::int64_t tiles() const { return (time + tile - 1) / tile; }
  /// Positions of a sequence that take part.
  std::int64_t length(std::int64_t b) const {
    return lengths == nullptr ? time : std::clamp<std::int64_t>(lengths[b], 0, time);
  }

  std::int64_t batch, time, heads, key_value_heads, size;
  std::int64_t padded;          ///< head size in whole panels
  const std::int32_t* lengths;  ///< or null
};

/// Rows of one head as a matrix of floats: in place where they are floats, else converted into `scratch`.
inline StridedMatrix as_floats(const float* rows, std::int64_t row, std::int64_t, std::int64_t, float*) {
  return {rows, row, 1};
}
inline StridedMatrix as_floats(const bfloat16* rows, std::int64_t row, std::int64_t count, std::int64_t size,
                               float* scratch) {
  for (std::int64_t i = 0; i < count; ++i) {
#pragma omp simd
    for (std::int64_t d = 0; d < size; ++d) scratch[i * size + d] = load(rows[i * row + d]);
  }
  return {scratch, size, 1};
}

inline StridedMatrix transposed(const StridedMatrix& matrix) { return {matrix.data, matrix.column, matrix.row}; }

/// to [size, tile] = factor * the rows transposed; zero in the columns that have no row.
template <typename T>
void load_transposed(const T* rows, std::int64_t row, std::int64_t count, std::int64_t size, float factor, float* to) {
  for (std::int64_t d = 0; d < size; ++d) {
    for (std::int64_t i = 0; i < tile; ++i) to[d * tile + i] = i < count ? factor * load(rows[i * row + d]) : 0.0F;
  }
}

/// to [tile, padded] = factor * the rows; zero where there is none.
template <typename T>
void load_rows(const T* rows, std::int64_t row, std::int64_t count, std::int64_t size, std::int64_t padded,
               float factor, float* to) {
  std::fill_n(to, tile * padded, 0.0F);
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t d = 0; d < size; ++d) to[i * padded + d] = factor * load(rows[i * row + d]);
  }
}

/// rows = factor of the query * from [size, tile] transposed.
template <typename T>
void store_transposed(const float* from, const TileRow& factors, std::int64_t count, std::int64_t size, T* rows,
                      std::int64_t row) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float factor = factors[static_cast<std::size_t>(i)];
    for (std::int64_t d = 0; d < size; ++d) store(rows[i * row + d], from[d * tile + i] * factor);
  }
}

template <typename T>
void clear_rows(std::int64_t count, std::int64_t size, T* rows, std::int64_t row) {
  for (std::int64_t i = 0; i < count; ++i) std::fill_n(rows + i * row, size, T{});
}

template <typename T>
void store_rows(const float* from, std::int64_t from_row, std::int64_t count, std::int64_t size, T* rows,
                std::int64_t row) {
  for (std::int64_t i = 0; i < count; ++i) {
#pragma omp simd
    for (std::int64_t d = 0; d < size; ++d) store(rows[i * row + d], from[i * from_row + d]);
  }
}

/// Gives scores of keys that lie after their query `value`. The tile starts `ahead` keys after its first query.
inline void mask(float* scores, std::int64_t keys, std::int64_t ahead, float value) {
  for (std::int64_t j = 0; j < keys; ++j) {
    const std::int64_t first_seen = std::clamp<std::int64_t>(j + ahead, 0, tile);
    std::fill_n(scores + j * tile, first_seen, value);
  }
}

}  // namespace trireme::attention_tiles
