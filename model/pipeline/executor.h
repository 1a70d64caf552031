// Runs any schedule on one stage of the pipeline.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "model/layer.h"
#include "model/pipeline/schedule.h"

namespace trireme {

/// The blocks of one stage and what crosses its borders.
struct Stage {
  int index = 0, count = 1;
  std::vector<std::unique_ptr<Layer>> blocks;
  /// Shapes of one sample's activations, told the shape of its first field.
  std::function<Shape(const Shape&)> input;   ///< from the stage before; not on the first stage
  std::function<Shape(const Shape&)> output;  ///< to the next stage; not on the last stage

  bool first() const { return index == 0; }
  bool last() const { return index + 1 == count; }
};

/// What does not change during a step.
struct StepContext {
  bool training = true;
  std::uint64_t seed = 0;
  float loss_scale = 1.0F;
  int microbatches = 1;  ///< over all ranks
  /// Called with a block's number (in the stage) when the gradients of its parameters are complete for the step.
  std::function<void(int block)> gradients_ready;
  /// Takes what the last block returns for a microbatch. Empty: it is added to the totals.
  std::function<void(const Tensor& returned)> outcome;
};

/// The ranks that a stage works with.
struct StageGroups {
  Communicator& pipeline;  ///< the other stages
  Communicator& tensor;    ///< those that share each of its matrices
  Communicator& data;      ///< its copies
};

/// Seconds that this stage spent in a step.
struct StageSeconds {
  double compute = 0;
  double waiting = 0;  ///< for messages from other stages
};

class PipelineExecutor {
 public:
  /// Proves the schedule correct first. All are used for as long as the executor lives.
  PipelineExecutor(Backend& backend, const StageGroups& groups, const Stage& stage, DType type, Schedule schedule);

  /// Runs all microbatches. Adds to the parameters' gradients, and what the last block returns to `totals` (f64
  /// [metrics, 2]; not used where the step has an `outcome`).
  void run(const StepContext& step, std::span<const Microbatch> microbatches, Tensor totals);

  /// Of the last run, or of the last replay of a recorded one, whose end this thread has waited for.
  StageSeconds seconds() const;

 private:
  static constexpr int no_microbatch = -1;

  /// A microbatch in flight.
  struct Slot {
    int microbatch = no_microbatch;
    Tensor input, output, output_gradient, input_gradient;
    std::vector<Saved> saved;  ///< one a block
  };

  enum class Spent { computing, waiting };
  /// What is enqueued from now on is time of that kind.
  void begin(Spent kind);
  Slot& slot_of(int microbatch);
  void release(Slot& slot);
  Context context_of(const StepContext& step, const Microbatch& microbatch) const;
  void communicate(std::span<const Action> batch, std::span<const Microbatch> microbatches);
  void forward(const StepContext& step, const Microbatch& microbatch, Slot& slot, Tensor& totals);
  void backward_input(const Context& context, Slot& slot, std::size_t block);
  void backward_weight(const StepContext& step, const Context& context, Slot& slot, std::size_t block);
  void backward(const StepContext& step, const Microbatch& microbatch, Slot& slot, bool input, bool weight);

  Backend& backend_;
  StageGroups groups_;
  const Stage& stage_;
  DType type_;
  Schedule schedule_;
  std::deque<Slot> slots_;
  std::vector<Request> sends_;   ///< under way; each keeps its tensor
  int weights_done_ = 0;         ///< microbatches of this step whose weight gradients are complete
  std::vector<Spent> spent_on_;  ///< one after the other, from mark i of the timeline to mark i + 1
  std::unique_ptr<Timeline> timeline_;
};

}  // namespace trireme
