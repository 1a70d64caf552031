// Sizes of connectionist temporal classification, and the checks of its arguments, for every device.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace trireme {

struct CtcSizes {
  std::int64_t batch = 0, time = 0, classes = 0;
  std::int64_t longest = 0;  ///< labels that a text may have
  /// Of the longest text: its labels with a blank before, between and behind them.
  std::int64_t states() const { return 2 * longest + 1; }
};

/// Sizes of a call whose tensors agree in shape and type; fails with what does not fit.
CtcSizes sizes_of(const CtcLossArgs& args);
CtcSizes sizes_of(const CtcGradientArgs& args);

}  // namespace trireme
