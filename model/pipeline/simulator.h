// Times a schedule without running it.
#pragma once

#include <vector>

#include "model/pipeline/schedule.h"

namespace trireme {

/// Seconds of each action. One entry a stage.
struct StageTimes {
  double forward = 0, backward_input = 0, backward_weight = 0;
  double transfer = 0;  ///< of a message that leaves this stage
};

struct SimulationResult {
  double seconds = 0;        ///< until the last stage is done
  std::vector<double> busy;  ///< computing seconds of each stage
  double bubble_share = 0;   ///< 1 - sum(busy) / (stages * seconds)
};

/// A batch's sends leave when it begins and arrive `transfer` later; a stage waits only for what it receives. Throws
/// Error where a message never comes.
SimulationResult simulate(const Schedule& schedule, const std::vector<StageTimes>& times);

}  // namespace trireme
