// A hung test ends with a report instead of a silent time-out.
#pragma once

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace trireme {

/// Watches the thread that makes it. When what that thread started does not stop in time, prints its name and the
/// thread's stack on stderr, each line after `prefix`, and calls `expired` on a thread of its own. One at a time.
class Watchdog {
 public:
  Watchdog(std::string prefix, std::function<void()> expired);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void start(const std::string& what, std::chrono::milliseconds limit);
  void stop();

 private:
  struct Watch {
    std::string what;
    std::chrono::milliseconds limit;
    std::chrono::steady_clock::time_point end;
  };

  void run();
  void report(const Watch& watch) const;

  std::string prefix_;
  std::function<void()> expired_;
  pthread_t watched_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Watch> watch_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace trireme
