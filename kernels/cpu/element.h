// Functions of one element that become vector code where a loop calls them (see vector.h): access to both working
// types, exp and the activations.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

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
/// Within 2^-23 of tanh, which near 0 is not close relative to the result.
inline float tanh_vector(float x) { return 2.0F * sigmoid(2.0F * x) - 1.0F; }

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

/// relu(x) = max(x, 0) (Nair and Hinton 2010); not a number stays that, and lets its gradient through.
struct Relu {
  static float value(float x) { return x < 0.0F ? 0.0F : x; }
  static float derivative(float x) { return x <= 0.0F ? 0.0F : 1.0F; }
};

/// hard_swish(x) = x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019).
struct HardSwish {
  static float value(float x) {
    const float gate = x < -3.0F ? 0.0F : x > 3.0F ? 1.0F : x * (1.0F / 6.0F) + 0.5F;
    return x * gate;
  }
  static float derivative(float x) { return x < -3.0F ? 0.0F : x > 3.0F ? 1.0F : x * (1.0F / 3.0F) + 0.5F; }
};

}  // namespace trireme
