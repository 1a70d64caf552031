// log.tensorboard and log.visualdl: what a run measures, written on a thread for programs that draw it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "app/metrics.h"
#include "app/session.h"
#include "app/workload.h"
#include "io/telemetry/event_log.h"

namespace trireme {

/// Rank 0 writes the figures of steps. The first rank of each pipeline stage writes histograms of the weights and
/// gradients that it holds (of its slices, where the tensor axis shares them): rank 0 in the same folder, others in
/// stage-N below. Of a tensor up to 65536 elements count, evenly taken.
///
/// At a validation, rank 0 also writes samples of the validation data with what the model makes of them; the ranks of
/// its copy of the model answer together. Training is not changed by a bit.
///
/// A disk that takes no more, or is too slow, costs pictures, never steps.
class Pictures {
 public:
  /// Refuses folders that cannot be written, naming the key. `step`: the last one done.
  Pictures(Session& session, std::int64_t step);
  ~Pictures();  ///< writes what is left
  Pictures(const Pictures&) = delete;
  Pictures& operator=(const Pictures&) = delete;

  /// Before the parameters of this step are changed, when its gradients are summed.
  void look_at_parameters(std::int64_t step);
  /// After this step. Collective over the tensor and pipeline axes; other copies have nothing to do.
  void look_at_samples(std::int64_t step, DataSet& data);
  /// Of rank 0.
  void step(const StepMetrics& metrics);
  /// Why something was not written, told once.
  std::optional<std::string> take_trouble();

 private:
  using Work = std::function<void(EventLog&)>;
  void add(Work work);
  void run();

  Session& session_;
  const LogOptions& options_;
  std::vector<std::unique_ptr<EventLog>> logs_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;
  bool closing_ = false;
  std::optional<std::string> trouble_;
  bool told_ = false;
  std::thread thread_;
};

}  // namespace trireme
