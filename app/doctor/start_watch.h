// Ranks that cannot reach each other hang while MPI starts, before they could report anything: a watch ends them.
#pragma once

#include <condition_variable>
#include <mutex>
#include <span>
#include <string>
#include <thread>

namespace trireme {

/// While it lives longer than so many seconds, rank 0, and every rank that waits for a connection, says so on stdout,
/// and the process ends with status 1.
class StartWatch {
 public:
  explicit StartWatch(double seconds);
  ~StartWatch();
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;

 private:
  void run(double seconds);

  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

/// Three times the doctor.timeout of a command line; where that is wrong, of the default.
double start_patience(std::span<const std::string> arguments);

}  // namespace trireme
