// When a run must have ended.
#pragma once

#include <optional>

namespace trireme {

/// The earlier of train.time_limit, counted from the start of the program, and the end that Slurm set for the job
/// (SLURM_JOB_END_TIME, UNIX seconds).
class TimeLimit {
 public:
  /// time_limit in seconds, 0: none.
  explicit TimeLimit(double time_limit);
  /// Seconds from now until the end, negative when it has passed; nothing where there is none.
  std::optional<double> left() const;

 private:
  std::optional<double> end_;  ///< on the system's clock, UNIX seconds
};

}  // namespace trireme
