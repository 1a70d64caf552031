// The training loop's inside: one step, one validation.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "app/feed.h"
#include "app/metrics.h"
#include "app/recorded_steps.h"
#include "app/session.h"
#include "app/workload.h"
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
  double loss = 0;           ///< mean over the step's targets, nats
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
  double seconds = 0;
  double data_wait_seconds = 0;
  StageSeconds stage;  ///< this rank's
  Votes votes;         ///< of all ranks
};

class Trainer {
 public:
  /// Goes on after `steps_done` steps.
  Trainer(Session& session, DataSet& data, std::int64_t steps_done);

  /// One step over the global batch. Collective. `vote` is asked when the passes are done. Fails when the loss or the
  /// gradient is not finite, before parameters are touched.
  StepResult step(const std::function<Votes()>& vote = {});
  std::int64_t samples_in_a_pass() const { return source_->samples(); }
  /// The step that failed because its loss or gradient is not finite, where one did; the same on all ranks.
  const std::optional<StepResult>& diverged() const { return diverged_; }

 private:
  /// Forward and backward passes, and the gradients' sums over the ranks; leaves loss and squared norm in totals_.
  void accumulate(std::span<const Microbatch> microbatches);
  /// Sums metrics, squared gradient norm and votes over the world. Returns what the gradients have to be multiplied by
  /// because a step had fewer or more targets than expected.
  double agree(StepResult& result, const Votes& votes);

  Session& session_;
  LearningRateSchedule learning_rate_;
  std::shared_ptr<Source> source_;
  Feed feed_;
  PipelineExecutor executor_;
  GradientReducer reducer_;
  std::unique_ptr<Optimizer> optimizer_;
  double expected_targets_;  ///< of a step, over all ranks
  std::int64_t metrics_;     ///< how many the last block returns
  Tensor totals_;            ///< f64 [2 metrics + 1]: sums and counts, squared gradient norm
  MemoryPool host_memory_{make_host_memory()};
  Tensor sums_;  ///< f64 [2 metrics + 4], on the host: the same over the world, and the votes
  RecordedSteps recorded_;
  std::int64_t step_;
  std::optional<StepResult> diverged_;
};

/// "loss 3.2100 nats a token  accuracy 75.00%", with as many decimals of what has a unit.
std::string format_measured(const std::vector<Metric>& metrics, const Measured& values, int decimals = 4);

/// Means of the architecture's metrics over a data set, by forward passes on the session's layout. Collective.
/// batches: of train.global_batch samples; 0: all samples. Nothing where `stop`, asked between batches, is true on any
/// rank.
std::optional<Measured> evaluate(Session& session, DataSet& data, int batches, const std::function<bool()>& stop = {});

}  // namespace trireme
