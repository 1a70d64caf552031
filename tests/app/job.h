// Jobs of the built executable that go on while a test looks at them, signals them and kills them.
#pragma once

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "io/checkpoint/checkpoint.h"
#include "tests/app/support.h"

namespace trireme::test {

/// Looks again and again until the condition holds; false where `limit` passes first.
template <typename Condition>
bool wait_until(Condition condition, std::chrono::duration<double> limit = std::chrono::minutes(2)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// `trireme ARGUMENTS` under mpirun. What is left of it dies with the object.
class Job {
 public:
  /// `environment`: what the ranks get, "NAME=value NAME=value", as a shell reads it.
  Job(int ranks, const std::string& arguments, const std::string& environment = "") {
    const std::string folder = folder_.path().string();
    // What a killed mpirun does not clean up goes with the folder, which lies where shared memory belongs.
    const std::string command =
        "exec env OMPI_MCA_orte_tmpdir_base=" + folder + " OMPI_MCA_btl_vader_backing_directory=" + folder + " " +
        mpirun_script() + " " + std::to_string(ranks) + " env " + mark() + " " + environment + " " +
        trireme_executable() + " " + arguments + " </dev/null >" + folder + "/out 2>" + folder + "/err";
    const char* words[] = {"sh", "-c", command.c_str(), nullptr};
    if (::posix_spawn(&mpirun_, "/bin/sh", nullptr, nullptr, const_cast<char**>(words), environ) != 0)
      throw std::runtime_error("/bin/sh cannot be started");
  }
  ~Job() {
    kill_all();
    if (!ended()) ::waitpid(mpirun_, nullptr, 0);
    wait_until([this] { return ranks().empty(); });
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// The processes of the ranks that live, by rank.
  std::map<int, pid_t> ranks() const {
    std::map<int, pid_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename().string();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      const std::string environment = '\0' + read_text(entry.path() / "environ");  // empty when it is over
      if (environment.find('\0' + mark() + '\0') == std::string::npos) continue;
      const std::string key = std::string(1, '\0') + "OMPI_COMM_WORLD_RANK=";
      const auto at = environment.find(key);
      if (at != std::string::npos) found[std::atoi(environment.c_str() + at + key.size())] = std::stoi(name);
    }
    return found;
  }
  /// Sends a signal to a rank, where it lives.
  void signal(int rank, int number) const {
    const auto all = ranks();
    if (const auto found = all.find(rank); found != all.end()) ::kill(found->second, number);
  }
  void kill_mpirun() {
    if (!ended()) ::kill(mpirun_, SIGKILL);
  }
  void kill_ranks() const {
    for (const auto& [rank, process] : ranks()) ::kill(process, SIGKILL);
  }
  void kill_all() {
    kill_mpirun();
    kill_ranks();
  }

  /// Whether mpirun has ended; its ranks may outlive it when it was killed.
  bool ended() {
    int status = 0;
    if (status_ >= 0 || ::waitpid(mpirun_, &status, WNOHANG) != mpirun_) return status_ >= 0;
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
  }
  /// Waits for the end of mpirun and all ranks. The exit status as a shell has it; -1 where they do not end in time.
  int wait(std::chrono::duration<double> limit = std::chrono::minutes(2)) {
    return wait_until([this] { return ended() && ranks().empty(); }, limit) ? status_ : -1;
  }
  /// Waits until the condition holds; false where the job ends first.
  template <typename Condition>
  bool until(Condition condition) {
    bool holds = false;
    wait_until([&] { return (holds = condition()) || ended(); });
    return holds;
  }
  std::string err() const { return read_text(folder_ / "err"); }
  bool said(const std::string& words) const { return err().find(words) != std::string::npos; }

 private:
  std::string mark() const { return "TRIREME_TEST_JOB=" + folder_.path().string(); }

  const TemporaryFolder folder_{"/dev/shm"};
  pid_t mpirun_ = 0;
  int status_ = -1;
};

/// Lines of a file, 0 where there is none: of a metrics file, the last step in it.
inline std::int64_t lines_in(const std::filesystem::path& file) {
  const std::string text = read_text(file);
  return std::count(text.begin(), text.end(), '\n');
}

/// All that a checkpoint holds, by path. Fails where anything is missing or damaged.
inline std::map<std::string, std::vector<float>> contents_of(const std::filesystem::path& checkpoint) {
  CheckpointReader reader(checkpoint);
  std::map<std::string, std::vector<float>> contents;
  for (const CheckpointEntry& entry : reader.entries()) {
    std::vector<float>& values = contents[entry.path];
    values.resize(static_cast<std::size_t>(entry.shape.elements()));
    reader.read({entry.path, {.global = entry.shape, .offset = {}, .extent = entry.shape}, values.data()});
  }
  return contents;
}

}  // namespace trireme::test
