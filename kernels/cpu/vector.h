// What the loops of the CPU backend share: threads over fixed blocks, dispatch on the working type, checks. No result
// depends on the number of threads: blocks have sizes that depend on the data alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/cpu/element.h"
#include "kernels/error.h"
#include "kernels/tensor.h"

namespace trireme {

/// Maximum of a row and the sum of exp(x - maximum), in one pass over memory (Milakov and Gimelshein 2018).
struct RowStatistics {
  float maximum = std::numeric_limits<float>::lowest();
  float sum = 0.0F;
};

template <typename T>
RowStatistics row_statistics(const T* x, std::int64_t n) {
  constexpr std::int64_t in_cache = 1024;
  RowStatistics result;
  for (std::int64_t first = 0; first < n; first += in_cache) {
    const std::int64_t last = std::min(n, first + in_cache);
    float maximum = result.maximum;
#pragma omp simd reduction(max : maximum)
    for (std::int64_t i = first; i < last; ++i) maximum = load(x[i]) > maximum ? load(x[i]) : maximum;
    float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = first; i < last; ++i) sum += exp_vector(load(x[i]) - maximum);
    result.sum = result.sum * exp_vector(result.maximum - maximum) + sum;
    result.maximum = maximum;
  }
  return result;
}

/// body(begin, end) for every block of [0, count).
template <typename Body>
void for_blocks(int threads, std::int64_t count, std::int64_t block, const Body& body) {
  const std::int64_t blocks = (count + block - 1) / block;
#pragma omp parallel for num_threads(threads) schedule(static) if (blocks > 1)
  for (std::int64_t b = 0; b < blocks; ++b) body(b * block, std::min(count, (b + 1) * block));
}

/// body(begin, end) for blocks of elements that are worth handing to a thread.
template <typename Body>
void for_elements(int threads, std::int64_t count, const Body& body) {
  for_blocks(threads, count, 4096, body);
}

/// body(row) for every row of `columns` elements.
template <typename Body>
void for_rows(int threads, std::int64_t rows, std::int64_t columns, const Body& body) {
  const std::int64_t block = std::max<std::int64_t>(1, 4096 / std::max<std::int64_t>(1, columns));
  for_blocks(threads, rows, block, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) body(row);
  });
}

/// Calls body with a value of the working type, float or bfloat16, that `type` names.
template <typename Body>
void for_type(DType type, const Body& body) {
  if (type == DType::f32) return body(float{});
  if (type == DType::bf16) return body(bfloat16{});
  fail("{} is not a type that layers work in", name_of(type));
}

/// Fails unless the tensor has so many elements; `name` is for people.
inline void expect_elements(const char* name, const Tensor& tensor, std::int64_t elements) {
  if (tensor.elements() != elements)
    fail("{}: {} has {} elements, expected {}", name, tensor.shape().to_string(), tensor.elements(), elements);
}

/// Typed pointer of a tensor that may be empty: then null.
template <typename T>
T* data_or_null(Tensor& tensor) {
  return tensor.empty() ? nullptr : tensor.data<T>();
}
template <typename T>
const T* data_or_null(const Tensor& tensor) {
  return tensor.empty() ? nullptr : tensor.data<T>();
}

}  // namespace trireme
