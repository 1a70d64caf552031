// log.events: what happens to a run, a line of JSON each, for `trireme report` and whoever else reads it later.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "app/configuration.h"
#include "app/monitor/exposition.h"

namespace trireme {

/// {"event": "begin", "ranks", "layout", "device", "flops_per_step", "flops_a_second", "configuration"} whenever the
/// run begins or goes on, with "job" where Slurm has given it a number; {"event": "stopped", "why"}; {"event": "done"};
/// and {"event": "alert", "what"} for what the program itself sees go wrong: what it warns of, a damaged checkpoint, a
/// rank that hangs or has died, the error that ends it. All have "time", seconds since 1970, and "step", the last one
/// done, where it is known.
///
/// The file is opened for each: a run has few. Whoever tells something goes on whatever becomes of the file.
class RunEvents {
 public:
  /// Empty: nothing is written.
  explicit RunEvents(std::filesystem::path file) : file_(std::move(file)) {}

  // False where the line could not be written.
  bool begin(std::int64_t step, int ranks, const RunFacts& facts, const Configuration& configuration) const;
  bool stopped(std::int64_t step, const std::string& why) const;
  bool done(std::int64_t step) const;
  static constexpr std::int64_t unknown = -1;
  bool alert(const std::string& what, std::int64_t step = unknown) const;

 private:
  bool add(nlohmann::ordered_json event, std::int64_t step) const;

  std::filesystem::path file_;
};

}  // namespace trireme
