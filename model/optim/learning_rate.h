// How the learning rate goes over a run.
#pragma once

#include <cstdint>

namespace trireme {

enum class DecayKind { constant, linear, cosine };

struct LearningRateSchedule {
  double peak = 0.0;
  double minimum = 0.0;  ///< at the last step, for linear and cosine
  std::int64_t warmup_steps = 0;
  std::int64_t steps = 0;  ///< of the whole run
  DecayKind decay = DecayKind::cosine;

  /// Learning rate of step `step`, which counts from 1: linear from 0 to peak over warmup_steps, then the decay
  /// (cosine: Loshchilov and Hutter 2017).
  double at(std::int64_t step) const;
};

}  // namespace trireme
