// The metrics log: one JSON object a step and line, for scripts and dashboards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>

namespace trireme {

struct StepMetrics {
  std::int64_t step = 0;  ///< from 1
  double loss = 0;        ///< mean of the global batch, nats a token
  double grad_norm = 0;   ///< before clipping
  double learning_rate = 0;
  std::int64_t samples = 0;  ///< consumed since the run began
  std::int64_t tokens = 0;   ///< likewise
  double step_seconds = 0;
  double tokens_per_second = 0;
  double data_wait_seconds = 0;
  double checkpoint_stall_seconds = 0;
  std::optional<double> validation_loss;  ///< where it was measured
};

/// The object of one step, without line end. Numbers read back to the same bits; those that are not finite are null.
/// Without `timing` it leaves out what the clock says, so that equal runs write equal lines.
std::string to_json(const StepMetrics& metrics, bool timing = true);

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
  /// Adds the validation loss to that line, which must still be the last.
  void amend(double validation_loss);

 private:
  std::filesystem::path file_;
  bool timing_;
  bool lacks_validation_ = false;
  int descriptor_ = -1;
  mutable std::mutex mutex_;  ///< of what follows, and of the order of lines
  std::string waiting_;
};

}  // namespace trireme
