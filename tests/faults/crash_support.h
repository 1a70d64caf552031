// Saves that are made to fail, and what must be true after any of them.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "comm/self_communicator.h"
#include "io/checkpoint/checkpoint.h"
#include "tests/io/checkpoint_support.h"
#include "tests/support/fault_injection/fault_injection.h"

namespace trireme {

/// One line of the library's log.
struct LoggedCall {
  std::string name;  ///< "write"
  long result = 0;
  std::string path, rest;
};

inline std::vector<LoggedCall> read_log(const std::filesystem::path& file) {
  std::vector<LoggedCall> calls;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    LoggedCall& call = calls.emplace_back();
    std::istringstream words(line);
    words >> call.name >> call.result >> call.path >> call.rest;
  }
  return calls;
}

inline Holding small_tensors(bool filled, std::uint64_t seed) {
  Holding holding;
  holding.add("parameters/embedding", whole({24, 6}), filled, seed);
  holding.add("parameters/blocks.0.norm.weight", whole({6}), filled, seed);
  holding.add("optimizer/first_moment/embedding", whole({24, 6}), filled, seed);
  return holding;
}

inline CheckpointInfo small_info(std::int64_t step) {
  CheckpointInfo info = example_info(step);
  info.tokenizer_model = "model";
  return info;
}

inline void save_small(const std::filesystem::path& directory, std::int64_t step, std::uint64_t seed) {
  const auto world = make_self_communicator("world");
  save_checkpoint(directory, small_info(step), small_tensors(true, seed).items(), *world);
}

/// The checkpoint is whole, and holds one of the seeds. Returns which.
inline std::uint64_t seed_in(const std::filesystem::path& folder, std::uint64_t one, std::uint64_t other) {
  verify_checkpoint(folder);
  CheckpointReader reader(folder);
  const Holding read = small_tensors(false, 0);
  read.read_from(reader);
  for (const std::uint64_t seed : {one, other}) {
    bool same = true;
    const Holding expected = small_tensors(true, seed);
    for (std::size_t number = 0; number < 3; ++number) same = same && read.same_bits(expected, number);
    if (same) return seed;
  }
  ADD_FAILURE() << folder << " holds neither of the two";
  return 0;
}

/// What is done to a directory of checkpoints: the kinds of change that a run makes.
struct Scenario {
  std::string name;
  std::vector<std::int64_t> before;  ///< steps saved with seed 1
  std::int64_t saved;                ///< step saved then, with seed 2; 0: nothing is saved
  int keep = 0;                      ///< pruned then to so many; 0: not pruned
  bool exchange = true;              ///< whether the file system can exchange names

  /// Makes the directory anew; what it holds is saved once and kept beside it.
  void prepare(const std::filesystem::path& directory) const {
    const std::filesystem::path kept = directory.string() + ".kept";
    if (!std::filesystem::exists(kept)) {
      std::filesystem::create_directory(kept);
      for (const std::int64_t step : before) save_small(kept, step, 1);
    }
    std::filesystem::remove_all(directory);
    std::filesystem::copy(kept, directory, std::filesystem::copy_options::recursive);
  }
  void act(const std::filesystem::path& directory) const {
    if (saved > 0) save_small(directory, saved, 2);
    if (keep > 0) prune_checkpoints(directory, keep);
  }
  /// As a program that starts in this directory finds it, and as its next save leaves it. `done`: act() returned.
  void expect_nothing_lost(const std::filesystem::path& directory, bool done) const;
};

inline std::ostream& operator<<(std::ostream& out, const Scenario& scenario) { return out << scenario.name; }

inline std::string name_of_scenario(const testing::TestParamInfo<Scenario>& info) {
  std::string name = info.param.name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

inline const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = {{"first save", {}, 100},
                                            {"new step", {100}, 200},
                                            {"same step", {100}, 100},
                                            {"same step without exchange", {100}, 100, 0, false},
                                            {"prune", {100, 200, 300}, 0, 1}};
  return all;
}

inline void Scenario::expect_nothing_lost(const std::filesystem::path& directory, bool done) const {
  check_checkpoint_directory(directory);
  const auto steps = list_checkpoints(directory);
  std::string found;
  for (const std::int64_t step : steps) {
    const std::uint64_t seed = seed_in(checkpoint_path(directory, step), 1, 2);
    found += fmt::format("{}:{} ", step, seed);
    const bool is_old = std::find(before.begin(), before.end(), step) != before.end();
    EXPECT_TRUE((seed == 1 && is_old) || (seed == 2 && step == saved)) << found;
    if (done && step == saved) {
      EXPECT_EQ(seed, 2U);
    }
  }
  const auto has = [&](std::int64_t step) { return std::find(steps.begin(), steps.end(), step) != steps.end(); };
  if (!before.empty()) {  // pruning may take older ones
    EXPECT_TRUE(has(before.back())) << found;
  }
  if (done && saved > 0) {
    EXPECT_TRUE(has(saved)) << found;
  }

  save_small(directory, 400, 3);
  EXPECT_EQ(seed_in(checkpoint_path(directory, 400), 3, 3), 3U);
  prune_checkpoints(directory, 1);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory), {}), 1) << "something is left over";
}

/// A folder for checkpoints and one beside it, in memory where there is such a place: no test of this kind needs a
/// disk.
class CrashTest : public testing::Test {
 protected:
  CrashTest() : root_(fast_directory() / fmt::format("trireme-faults-{}", getpid())) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  ~CrashTest() override { std::filesystem::remove_all(root_); }

  std::filesystem::path directory() const { return root_ / "checkpoints"; }
  std::filesystem::path log() const { return root_ / "log"; }

  /// What became of a process in which the library had its orders.
  struct Ending {
    bool done = false, killed = false;
    std::string message;  ///< of the error otherwise
  };
  Ending act_in_child(const Scenario& scenario, std::size_t at, const std::string& kind) const {
    std::filesystem::remove(log());
    std::filesystem::remove(log().string() + ".data");
    const std::filesystem::path message = root_ / "message";
    const pid_t child = fork();
    if (child == 0) {
      setenv("TRIREME_FAULT_DIRECTORY", directory().c_str(), 1);
      setenv("TRIREME_FAULT_LOG", log().c_str(), 1);
      setenv("TRIREME_FAULT_AT", std::to_string(at).c_str(), 1);
      setenv("TRIREME_FAULT_KIND", kind.c_str(), 1);
      if (!scenario.exchange) setenv("TRIREME_FAULT_NO_EXCHANGE", "1", 1);
      const Error error = error_of([&] {
        arm_faults();
        scenario.act(directory());
      });
      std::ofstream(message) << error.what();
      _exit(static_cast<int>(error.status()));
    }
    int status = 0;
    waitpid(child, &status, 0);
    Ending ending;
    ending.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    ending.done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    const bool failed = WIFEXITED(status) && (WEXITSTATUS(status) == 1 || WEXITSTATUS(status) == 2);
    EXPECT_TRUE(ending.killed || ending.done || failed) << "ended with status " << status;
    if (failed) ending.message = bytes_of(message);
    return ending;
  }

 private:
  std::filesystem::path root_;
};

}  // namespace trireme
