// A float64 double of ERNIE, written for the eye: one loop a formula.
#pragma once

#include <cstdint>
#include <vector>

#include "model/arch/ernie.h"
#include "tests/support/reference_gpt.h"

namespace trireme::testing {

/// One sample, as the sources make it: all fields of its task, -1 where there is nothing.
struct ReferenceSample {
  std::vector<std::int32_t> tokens, segments;
  int length = 0;
  std::vector<std::int32_t> positions, targets;  ///< pretrain
  std::int32_t order = -1;                       ///< pretrain
  std::vector<std::int32_t> labels;              ///< one of a text, or those of its tokens
};

/// The objective whose gradient a step adds up: the sum of masked tokens' cross-entropies (or labels') and, with
/// config.order_weight * config.masked a sample, of the order's.
double reference_ernie_objective(const ErnieConfig& config, const ReferenceParameters& parameters,
                                 const std::vector<ReferenceSample>& samples);

}  // namespace trireme::testing
