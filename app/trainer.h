// The training loop's inside: one step, one validation.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "app/session.h"
#include "io/loader.h"
#include "model/optim/gradient_reducer.h"
#include "model/optim/learning_rate.h"
#include "model/optim/optimizer.h"

namespace trireme {

/// What ranks tell each other at the end of a step: each where it is true on any of them.
struct Votes {
  bool stop = false;    ///< asked to end the run
  bool save = false;    ///< a save is due that was not planned
  bool saving = false;  ///< still writing a checkpoint
};

/// What a step came to; the same on all ranks, except the times.
struct StepResult {
  std::int64_t step = 0;     ///< counts from 1
  std::int64_t samples = 0;  ///< consumed by the run so far
  double loss = 0;           ///< mean over the step's tokens, nats
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
  double seconds = 0;
  double data_wait_seconds = 0;
  Votes votes;  ///< of all ranks
};

class Trainer {
 public:
  /// Goes on after `steps_done` steps.
  Trainer(Session& session, std::shared_ptr<TokenDataset> data, std::int64_t steps_done);

  /// One step over the global batch. Collective. `vote` is asked when the passes are done. Fails when the loss or the
  /// gradient is not finite, before parameters are touched.
  StepResult step(const std::function<Votes()>& vote = {});

 private:
  /// Forward and backward passes, and the gradients' sums over the ranks; leaves loss and squared norm in totals_.
  void accumulate();
  /// The same, as a recording once it has run.
  void accumulate_or_replay();
  /// Sums loss, squared gradient norm and votes over the world.
  void agree(StepResult& result, const Votes& votes);

  Session& session_;
  LearningRateSchedule learning_rate_;
  TokenLoader loader_;
  PipelineExecutor executor_;
  GradientReducer reducer_;
  Adamw optimizer_;
  std::vector<Microbatch> microbatches_;  ///< of the step; in the same memory in every step
  Tensor totals_;                         ///< f64 [2]: loss, squared gradient norm
  MemoryPool host_memory_{make_host_memory()};
  Tensor sums_;  ///< f64 [5], on the host: the same over the world, and the votes
  std::int64_t step_;
  bool has_run_ = false;
  std::unique_ptr<Recording> recording_;
};

/// Mean loss in nats per token over a data set, by forward passes on the session's layout. Collective.
/// batches: of train.global_batch samples; 0: all samples. Nothing where `stop`, asked between batches, is true on any
/// rank.
std::optional<double> evaluate(Session& session, const std::shared_ptr<TokenDataset>& data, int batches,
                               const std::function<bool()>& stop = {});

}  // namespace trireme
