// What the loops of the CPU backend share: element access, functions that become vector code, threads over fixed
// blocks. No result depends on the number of threads: blocks have sizes that depend on the data alone.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "kernels/error.h"
#include "kernels/tensor.h"

namespace trireme {

// As to_float and to_bfloat16, but inline and without branches, so that loops over them are vectorised.
inline float load(float value) { return value; }
inline float load(bfloat16 value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }
inline void store(float& to, float value) { to = value; }
inline void store(bfloat16& to, float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const std::uint32_t not_a_number = (bits >> 16) | 0x40U;
  to.bits = static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? not_a_number : rounded);
}

/// exp within 2 units in the last place: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], interpolated at Chebyshev
/// nodes (relative error 1e-8). Results below the smallest normal number are 0. A function of our own because the C
/// library's has no vector form outside -ffast-math, and would not give the same bits everywhere.
inline float exp_vector(float x) {
  constexpr float round_to_integer = 0x1.8p23F;  // adding it leaves the integer in the low bits
  constexpr float ln2_high = 0x1.63p-1F;         // few bits, so that the product with n is exact
  constexpr float ln2_low = -2.12194440e-4F;
  const float shifted = x * 1.44269504F + round_to_integer;
  const float n = shifted - round_to_integer;
  const float r = (x - n * ln2_high) - n * ln2_low;
  const float tail = 0.5F + r * (0.166665767F + r * (0.0416665542F + r * (0.00836323288F + r * 0.00139262508F)));
  const float mantissa = 1.0F + (r + r * r * tail);
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(mantissa) + (std::bit_cast<std::uint32_t>(shifted) << 23);
  float result = std::bit_cast<float>(bits);
  result = x < -87.3F ? 0.0F : result;
  result = x > 88.7228F ? std::numeric_limits<float>::infinity() : result;
  return x == x ? result : x;  // NaN stays NaN
}

inline float sigmoid(float x) { return 1.0F / (1.0F + exp_vector(-x)); }

/// gelu(x) = x (1 + tanh u) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks and Gimpel 2016).
struct Gelu {
  static constexpr float linear = 1.59576912F;  // 2 sqrt(2 / pi)
  static constexpr float cubic = linear * 0.044715F;
  static float value(float x) { return x * sigmoid(x * (linear + cubic * x * x)); }
  static float derivative(float x) {
    const float s = sigmoid(x * (linear + cubic * x * x));
    const float slope = s * (1.0F - s) * (linear + 3.0F * cubic * x * x);
    return s + (slope > 0.0F ? x * slope : 0.0F);  // far out the slope is 0 and x * x may be infinite
  }
};

/// silu(x) = x sigmoid(x).
struct Silu {
  static float value(float x) { return x * sigmoid(x); }
  static float derivative(float x) {
    const float s = sigmoid(x);
    return s + x * s * (1.0F - s);
  }
};

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
