// What went wrong in a run, and when, for `trireme report`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace trireme {

/// The objects of a file of JSON lines; a last line that is not whole is left out. Refuses a file that cannot be read
/// and a line that is no object, saying what was `expected`.
std::vector<nlohmann::ordered_json> read_json_lines(const std::filesystem::path& file, const char* expected);

/// Told from outside of the run. Times are seconds since 1970.
struct OutsideAlert {
  double begin = 0;
  std::optional<double> end;  ///< empty: a moment, or not over yet
  std::string name, what;
  std::string job;  ///< Slurm's number, or what else Prometheus calls the run; empty where it is not known
};

/// Of a file of Alertmanager's webhook messages, one a line, or of the log of jobs/slurm/idle_release.py. An alert that
/// is told of again, firing and resolved, comes once. Refuses other lines.
std::vector<OutsideAlert> read_alerts(const std::filesystem::path& file);

/// When a run was at which step, from its events and from how long its steps took.
class StepTimes {
 public:
  StepTimes(const std::vector<nlohmann::ordered_json>& metrics, const std::vector<nlohmann::ordered_json>& events);
  /// The last step done then; nothing before the run, after it has ended with a word, or where no times are known.
  std::optional<std::int64_t> step_at(double time) const;
  /// Of whatever time: the nearest step.
  std::int64_t nearest(double time) const;

 private:
  void add(double time, std::int64_t step);

  std::vector<std::pair<double, std::int64_t>> points_;  ///< times, and steps done then, in the order of times
  std::optional<double> end_;
};

}  // namespace trireme
