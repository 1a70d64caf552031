// Activations and their derivatives in float64, for the tests of every operation that applies them.
#pragma once

#include <array>
#include <cmath>
#include <numbers>

#include "kernels/backend.h"
#include "kernels/error.h"

namespace trireme {

constexpr std::array every_activation = {Activation::none, Activation::gelu, Activation::silu, Activation::relu,
                                         Activation::hard_swish};

inline double reference_activation(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1.0 + std::exp(-x));
    case Activation::relu:
      return x < 0.0 ? 0.0 : x;
    case Activation::hard_swish:
      return x < -3.0 ? 0.0 : x > 3.0 ? x : x * (x + 3.0) / 6.0;
  }
  fail("unknown activation");
}

/// Central difference: exact to about 1e-9 in float64. Not of functions of pieces, where a step may cross a kink.
inline double reference_slope(Activation activation, double x) {
  if (activation == Activation::relu) return x > 0.0 ? 1.0 : 0.0;
  if (activation == Activation::hard_swish) return x < -3.0 ? 0.0 : x > 3.0 ? 1.0 : x / 3.0 + 0.5;
  constexpr double step = 1e-5;
  return (reference_activation(activation, x + step) - reference_activation(activation, x - step)) / (2.0 * step);
}

}  // namespace trireme
