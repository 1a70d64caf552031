#include "model/pipeline/simulator.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/error.h"

namespace trireme {

namespace {

constexpr double never = std::numeric_limits<double>::infinity();

class Simulation {
 public:
  Simulation(const Schedule& schedule, const std::vector<StageTimes>& times)
      : schedule_(schedule),
        times_(times),
        position_(times.size(), 0),
        clock_(times.size(), 0.0),
        busy_(times.size(), 0.0),
        activation_(times.size(), std::vector<double>(static_cast<std::size_t>(schedule.microbatches), never)),
        gradient_(activation_) {}

  SimulationResult run() {
    bool progress = true;
    while (progress) {
      progress = false;
      for (std::size_t stage = 0; stage < times_.size(); ++stage) progress |= advance(stage);
    }
    for (std::size_t stage = 0; stage < times_.size(); ++stage) {
      const auto& actions = schedule_.stages[stage];
      if (position_[stage] == actions.size()) continue;
      fail("schedule {}: stage {}, position {}: {} waits for ever", schedule_.name, stage, position_[stage],
           to_string(actions[position_[stage]]));
    }
    SimulationResult result{*std::max_element(clock_.begin(), clock_.end()), busy_, 0.0};
    const double capacity = static_cast<double>(times_.size()) * result.seconds;
    if (capacity > 0) result.bubble_share = 1 - std::accumulate(busy_.begin(), busy_.end(), 0.0) / capacity;
    return result;
  }

 private:
  /// Goes on with a stage until it needs a message that has not been sent; true when it moved.
  bool advance(std::size_t stage) {
    const auto& actions = schedule_.stages[stage];
    const std::size_t before = position_[stage];
    while (position_[stage] < actions.size()) {
      const std::size_t end = batch_end(actions, position_[stage]);
      if (end == position_[stage]) {
        compute(stage, actions[position_[stage]++].kind);
      } else if (!exchange(stage, end)) {
        break;
      }
    }
    return position_[stage] != before;
  }

  void compute(std::size_t stage, ActionKind kind) {
    const StageTimes& times = times_[stage];
    const double seconds = kind == ActionKind::forward          ? times.forward
                           : kind == ActionKind::backward_input ? times.backward_input
                                                                : times.backward_weight;
    clock_[stage] += seconds;
    busy_[stage] += seconds;
  }

  /// Sends all of a batch, then waits for what it receives; false when some of that has not been sent yet.
  bool exchange(std::size_t stage, std::size_t end) {
    double ready = clock_[stage];
    for (std::size_t i = position_[stage]; i < end; ++i) {
      const Action& action = schedule_.stages[stage][i];
      const auto microbatch = static_cast<std::size_t>(action.microbatch);
      const double arrival = clock_[stage] + times_[stage].transfer;
      if (action.kind == ActionKind::send_activation) activation_.at(stage + 1).at(microbatch) = arrival;
      if (action.kind == ActionKind::send_gradient) gradient_.at(stage - 1).at(microbatch) = arrival;
      if (action.kind == ActionKind::receive_activation) ready = std::max(ready, activation_[stage].at(microbatch));
      if (action.kind == ActionKind::receive_gradient) ready = std::max(ready, gradient_[stage].at(microbatch));
    }
    if (ready == never) return false;
    clock_[stage] = ready;
    position_[stage] = end;
    return true;
  }

  const Schedule& schedule_;
  const std::vector<StageTimes>& times_;
  std::vector<std::size_t> position_;
  std::vector<double> clock_, busy_;
  std::vector<std::vector<double>> activation_, gradient_;  ///< [stage][microbatch]: when it arrives there
};

}  // namespace

SimulationResult simulate(const Schedule& schedule, const std::vector<StageTimes>& times) {
  if (times.empty() || times.size() != schedule.stages.size()) {
    fail("schedule {}: found times of {} stages, expected {}", schedule.name, times.size(), schedule.stages.size());
  }
  return Simulation(schedule, times).run();
}

}  // namespace trireme
