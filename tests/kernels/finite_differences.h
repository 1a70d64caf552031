// Gradients of a float64 reference, to compare backward passes with.
#pragma once

#include "kernel_test.h"

namespace trireme {

/// Central differences of `function` at every element of `at`.
template <typename Function>
Values differences(Values at, const Function& function) {
  constexpr double step = 1e-5;
  Values result(at.size());
  for (std::size_t i = 0; i < at.size(); ++i) {
    const double middle = at[i];
    at[i] = middle + step;
    const double above = function(at);
    at[i] = middle - step;
    result[i] = (above - function(at)) / (2.0 * step);
    at[i] = middle;
  }
  return result;
}

}  // namespace trireme
