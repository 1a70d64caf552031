#include "model/pipeline/schedule.h"

#include <algorithm>
#include <array>

#include "kernels/error.h"

namespace trireme {

namespace {

constexpr int kinds = 7;

bool in_forward_pass(ActionKind kind) {
  return kind == ActionKind::forward || kind == ActionKind::send_activation || kind == ActionKind::receive_activation;
}

/// Appends the actions of one stage; knows which messages the stage has.
class StageBuilder {
 public:
  StageBuilder(int stage, int stages) : first_(stage == 0), last_(stage == stages - 1) {}

  void forward(int microbatch) {
    if (!first_) add(ActionKind::receive_activation, microbatch);
    add(ActionKind::forward, microbatch);
    if (!last_) add(ActionKind::send_activation, microbatch);
  }
  void backward(int microbatch) {
    if (!last_) add(ActionKind::receive_gradient, microbatch);
    add(ActionKind::backward_input, microbatch);
    if (!first_) add(ActionKind::send_gradient, microbatch);
    add(ActionKind::backward_weight, microbatch);
  }
  std::vector<Action> take() { return std::move(actions_); }

 private:
  void add(ActionKind kind, int microbatch) { actions_.push_back({kind, microbatch}); }

  bool first_, last_;
  std::vector<Action> actions_;
};

/// A schedule in which stage s runs min(microbatches, warm_up(s)) forwards before one-forward-one-backward begins.
template <typename WarmUp>
Schedule build(std::string name, int stages, int microbatches, WarmUp warm_up) {
  if (stages < 1 || microbatches < 1) {
    fail("schedule {}: found {} stages and {} microbatches, expected at least one of each", name, stages, microbatches);
  }
  Schedule schedule{std::move(name), microbatches, {}};
  for (int stage = 0; stage < stages; ++stage) {
    StageBuilder builder(stage, stages);
    const int ahead = std::min(microbatches, warm_up(stage));
    for (int i = 0; i < ahead; ++i) builder.forward(i);
    for (int i = 0; i < microbatches; ++i) {
      if (ahead + i < microbatches) builder.forward(ahead + i);
      builder.backward(i);
    }
    schedule.stages.push_back(builder.take());
  }
  return schedule;
}

/// Proves the order of one stage's list: each action legal there, once, after what it needs.
class StageCheck {
 public:
  StageCheck(const Schedule& schedule, std::size_t stage)
      : schedule_(schedule),
        stage_(stage),
        first_(stage == 0),
        last_(stage + 1 == schedule.stages.size()),
        done_(static_cast<std::size_t>(schedule.microbatches)) {}

  /// Returns the most microbatches in flight.
  int run() {
    for (const Action& action : schedule_.stages[stage_]) {
      take(action);
      ++position_;
    }
    for (int microbatch = 0; microbatch < schedule_.microbatches; ++microbatch) {
      for (int kind = 0; kind < kinds; ++kind) {
        const Action action{static_cast<ActionKind>(kind), microbatch};
        if (exists(action.kind) && !done(action)) reject(action, "is missing: the list ends without it");
      }
    }
    return peak_;
  }

 private:
  void take(const Action& action) {
    if (action.microbatch < 0 || action.microbatch >= schedule_.microbatches) {
      reject(action, fmt::format("is outside the {} microbatches", schedule_.microbatches));
    }
    if (!exists(action.kind)) reject(action, absence(action.kind));
    if (done(action)) reject(action, "was done before");
    switch (action.kind) {
      case ActionKind::forward:
        require(action, ActionKind::receive_activation);
        peak_ = std::max(peak_, ++in_flight_);
        if (!schedule_.trains) --in_flight_;  // nothing is kept for a backward pass
        break;
      case ActionKind::send_activation:
        require(action, ActionKind::forward);
        break;
      case ActionKind::backward_input:
        require(action, ActionKind::forward);
        require(action, ActionKind::receive_gradient);
        break;
      case ActionKind::backward_weight:
        require(action, ActionKind::backward_input);
        --in_flight_;
        break;
      case ActionKind::send_gradient:
        require(action, ActionKind::backward_input);
        break;
      case ActionKind::receive_activation:
      case ActionKind::receive_gradient:
        break;
    }
    flag(action) = true;
  }

  /// Whether this stage has actions of that kind.
  bool exists(ActionKind kind) const {
    if (!schedule_.trains && !in_forward_pass(kind)) return false;
    if (kind == ActionKind::receive_activation || kind == ActionKind::send_gradient) return !first_;
    if (kind == ActionKind::send_activation || kind == ActionKind::receive_gradient) return !last_;
    return true;
  }
  const char* absence(ActionKind kind) const {
    if (!schedule_.trains && !in_forward_pass(kind)) return "has no place in a schedule of forward passes";
    return first_ ? "has no stage before it" : "has no stage after it";
  }
  bool& flag(const Action& action) {
    return done_[static_cast<std::size_t>(action.microbatch)][static_cast<std::size_t>(action.kind)];
  }
  bool done(const Action& action) { return flag(action); }

  void require(const Action& action, ActionKind needed) {
    const Action before{needed, action.microbatch};
    if (exists(needed) && !done(before)) reject(action, fmt::format("needs {} first", name_of(needed)));
  }
  [[noreturn]] void reject(const Action& action, const std::string& reason) const {
    fail("schedule {}: stage {}, position {}: {} {}", schedule_.name, stage_, position_, to_string(action), reason);
  }

  const Schedule& schedule_;
  std::size_t stage_;
  bool first_, last_;
  std::size_t position_ = 0;
  std::vector<std::array<bool, kinds>> done_;
  int in_flight_ = 0;
  int peak_ = 0;
};

/// Runs all lists side by side; a batch ends when each of its messages has been started on both sides.
class RendezvousRun {
 public:
  explicit RendezvousRun(const Schedule& schedule)
      : schedule_(schedule),
        position_(schedule.stages.size(), 0),
        started_(schedule.stages.size(),
                 std::vector<std::array<bool, kinds>>(static_cast<std::size_t>(schedule.microbatches))) {}

  void run() {
    bool progress = true;
    while (progress) {
      progress = false;
      for (std::size_t stage = 0; stage < position_.size(); ++stage) progress |= advance(stage);
    }
    std::string waiting;
    for (std::size_t stage = 0; stage < position_.size(); ++stage) {
      const auto& actions = schedule_.stages[stage];
      if (position_[stage] == actions.size()) continue;
      const std::size_t at = first_unmet(stage, batch_end(actions, position_[stage]));
      waiting +=
          fmt::format("{}stage {}, position {}: {}", waiting.empty() ? "" : "; ", stage, at, to_string(actions[at]));
    }
    if (!waiting.empty()) fail("schedule {}: deadlock, these wait for each other: {}", schedule_.name, waiting);
  }

 private:
  /// Goes on with a stage as far as it can; true when it moved.
  bool advance(std::size_t stage) {
    const auto& actions = schedule_.stages[stage];
    std::size_t& position = position_[stage];
    const std::size_t before = position;
    while (position < actions.size()) {
      const std::size_t end = batch_end(actions, position);
      for (std::size_t i = position; i < end; ++i) started(stage, actions[i]) = true;
      if (first_unmet(stage, end) < end) break;
      position = std::max(end, position + 1);
    }
    return position != before;
  }

  /// Position of the first message before `end` whose partner has not been started; `end` if there is none.
  std::size_t first_unmet(std::size_t stage, std::size_t end) {
    std::size_t i = position_[stage];
    while (i < end && partner_started(stage, schedule_.stages[stage][i])) ++i;
    return i;
  }
  bool partner_started(std::size_t stage, const Action& action) {
    switch (action.kind) {
      case ActionKind::send_activation:
        return started(stage + 1, {ActionKind::receive_activation, action.microbatch});
      case ActionKind::receive_activation:
        return started(stage - 1, {ActionKind::send_activation, action.microbatch});
      case ActionKind::send_gradient:
        return started(stage - 1, {ActionKind::receive_gradient, action.microbatch});
      default:
        return started(stage + 1, {ActionKind::send_gradient, action.microbatch});
    }
  }
  bool& started(std::size_t stage, const Action& action) {
    return started_[stage][static_cast<std::size_t>(action.microbatch)][static_cast<std::size_t>(action.kind)];
  }

  const Schedule& schedule_;
  std::vector<std::size_t> position_;
  std::vector<std::vector<std::array<bool, kinds>>> started_;  ///< [stage][microbatch][kind]
};

}  // namespace

const char* name_of(ActionKind kind) {
  constexpr std::array<const char*, kinds> names = {"forward",         "backward_input",     "backward_weight",
                                                    "send_activation", "receive_activation", "send_gradient",
                                                    "receive_gradient"};
  return names[static_cast<std::size_t>(kind)];
}

std::string to_string(const Action& action) {
  return fmt::format("{} of microbatch {}", name_of(action.kind), action.microbatch);
}

std::size_t batch_end(const std::vector<Action>& actions, std::size_t position) {
  while (position < actions.size() && is_communication(actions[position].kind)) ++position;
  return position;
}

ScheduleKind parse_schedule(std::string_view name) {
  if (name == "gpipe") return ScheduleKind::gpipe;
  if (name == "1f1b") return ScheduleKind::one_f_one_b;
  refuse("parallel.schedule: found '{}', expected gpipe or 1f1b", name);
}

Schedule make_gpipe(int stages, int microbatches) {
  return build("gpipe", stages, microbatches, [=](int) { return microbatches; });
}

Schedule make_1f1b(int stages, int microbatches) {
  return build("1f1b", stages, microbatches, [=](int stage) { return stages - stage - 1; });
}

Schedule make_schedule(ScheduleKind kind, int stages, int microbatches) {
  return kind == ScheduleKind::gpipe ? make_gpipe(stages, microbatches) : make_1f1b(stages, microbatches);
}

Schedule make_forward_only(int stages, int microbatches) {
  Schedule schedule = make_gpipe(stages, microbatches);
  schedule.name = "forward only";
  schedule.trains = false;
  for (auto& actions : schedule.stages) {
    std::erase_if(actions, [](const Action& action) { return !in_forward_pass(action.kind); });
  }
  return schedule;
}

ScheduleFacts validate(const Schedule& schedule) {
  if (schedule.stages.empty() || schedule.microbatches < 1) {
    fail("schedule {}: found {} stages and {} microbatches, expected at least one of each", schedule.name,
         schedule.stages.size(), schedule.microbatches);
  }
  ScheduleFacts facts;
  for (std::size_t stage = 0; stage < schedule.stages.size(); ++stage) {
    facts.peak_slots.push_back(StageCheck(schedule, stage).run());
  }
  RendezvousRun(schedule).run();
  return facts;
}

}  // namespace trireme
