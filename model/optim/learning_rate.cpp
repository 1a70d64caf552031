#include "model/optim/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trireme {

double LearningRateSchedule::at(std::int64_t step) const {
  if (step < warmup_steps) return peak * static_cast<double>(step) / static_cast<double>(warmup_steps);
  if (decay == DecayKind::constant || steps <= warmup_steps) return peak;
  const double progress =
      std::min(1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(steps - warmup_steps));
  const double share =
      decay == DecayKind::linear ? 1.0 - progress : 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return minimum + (peak - minimum) * share;
}

}  // namespace trireme
