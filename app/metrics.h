// The metrics log: one JSON object a step and line, for scripts and dashboards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace trireme {

/// Values by name, the loss first.
using Measured = std::vector<std::pair<std::string, double>>;

struct StepMetrics {
  std::int64_t step = 0;  ///< from 1
  double loss = 0;        ///< mean over the global batch's targets, nats
  double grad_norm = 0;   ///< before clipping
  double learning_rate = 0;
  std::int64_t samples = 0;  ///< consumed since the run began
  std::int64_t tokens = 0;   ///< likewise; 0 where samples have none
  double step_seconds = 0;
  double per_second = 0;  ///< tokens, or samples where they have none
  double data_wait_seconds = 0;
  double checkpoint_stall_seconds = 0;
  Measured validation;  ///< empty where it was not measured

  const char* unit() const { return tokens > 0 ? "tokens" : "samples"; }
};

/// The object of one step, without line end. Numbers read back to the same bits; those that are not finite are null.
/// Without `timing` it leaves out what the clock says, so that equal runs write equal lines.
std::string to_json(const StepMetrics& metrics, bool timing = true);

/// The last step that a metrics file tells of; 0 where it tells of none, or is none.
std::int64_t last_step_in(const std::filesystem::path& file);

/// Appends to a metrics file. A line is written at once and whole, so readers may follow the file.
class MetricsLog {
 public:
  /// Goes on after `last_step` (0: a new run): lines of later steps, left by an earlier life of the run, are dropped,
  /// and so is a last line that a crash cut short. The old file stays whole until the shortened one replaces it.
  /// Refuses a file that holds anything else, naming file and line. Makes the folder where there is none.
  MetricsLog(const std::filesystem::path& file, std::int64_t last_step, bool timing = true);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  /// What the disk has no room for waits in memory until it has.
  void write(const StepMetrics& metrics);
  bool waiting() const;
  /// Returns when all lines are on disk; fails when there is no room for them. May be called on another thread.
  void sync();

  /// Whether the last line kept is of `last_step` and tells no validation loss.
  bool lacks_validation() const { return lacks_validation_; }
  /// Adds the validation to that line, which must still be the last.
  void amend(const Measured& validation);

 private:
  std::filesystem::path file_;
  bool timing_;
  bool lacks_validation_ = false;
  int descriptor_ = -1;
  mutable std::mutex mutex_;  ///< of what follows, and of the order of lines
  std::string waiting_;
};

}  // namespace trireme
