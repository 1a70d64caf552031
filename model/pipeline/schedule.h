// A pipeline schedule is data: for each stage a list of actions. One validator proves a list correct, one executor runs
// any list (executor.h), one simulator times any list without running it (simulator.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

enum class ActionKind : std::uint8_t {
  forward,          ///< run the stage's blocks on a microbatch
  backward_input,   ///< gradient of the stage's input
  backward_weight,  ///< gradients of the stage's parameters
  send_activation,  ///< stage's output to the next stage
  receive_activation,
  send_gradient,  ///< stage's input gradient to the stage before
  receive_gradient,
};

const char* name_of(ActionKind kind);

struct Action {
  ActionKind kind;
  int microbatch;
  bool operator==(const Action&) const = default;
};

/// "send_gradient of microbatch 3", for messages.
std::string to_string(const Action& action);

/// Neighbouring communication actions of a list form one batch: all are started together. Only what a batch receives
/// has to be waited for before the list goes on; its sends may complete later.
inline bool is_communication(ActionKind kind) { return kind >= ActionKind::send_activation; }

struct Schedule {
  std::string name;
  int microbatches = 0;
  std::vector<std::vector<Action>> stages;  ///< actions of each stage, in order
  bool trains = true;                       ///< false: forward passes only
};

/// Position after the batch of messages that begins at `position`.
std::size_t batch_end(const std::vector<Action>& actions, std::size_t position);

enum class ScheduleKind { gpipe, one_f_one_b };
/// "gpipe" or "1f1b"; refuses anything else.
ScheduleKind parse_schedule(std::string_view name);

// Both lists receive just before they compute and send just after, and send the input gradient before they compute the
// weights' gradients, so that the stage before starts its backward pass that much earlier. Where a stage sends an
// activation and then receives a gradient, the two are neighbours: as two batches they could deadlock with the next
// stage, which sends its gradient before it receives the activation.

/// All forwards, then all backwards, microbatches in order in both (Huang et al. 2019).
Schedule make_gpipe(int stages, int microbatches);
/// One forward, one backward after a warm-up of (stages - stage - 1) forwards (Narayanan et al. 2019, flush variant).
/// Adds gradients in the same order as gpipe, so both give the same bits.
Schedule make_1f1b(int stages, int microbatches);
Schedule make_schedule(ScheduleKind kind, int stages, int microbatches);

/// Forwards only: validation.
Schedule make_forward_only(int stages, int microbatches);

/// What the validator learned of a correct schedule.
struct ScheduleFacts {
  std::vector<int> peak_slots;  ///< per stage: most microbatches in flight (forward begun, weights not yet done)
};

/// Proves that every stage runs forward, backward_input and backward_weight exactly once for each microbatch in a legal
/// order, that every send has its receive, and that it ends even when a batch of messages completes only after all its
/// messages have met their partners (rendezvous). Throws Error naming stage, position and action otherwise.
ScheduleFacts validate(const Schedule& schedule);

}  // namespace trireme
