// Ends a job that has come to a standstill, with a report of where every rank is.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/mpi/world.h"

namespace trireme {

/// A thread that watches what the threads of this process tell of themselves (kernels/activity.h). A thread hangs that
/// has not moved for the limit: the main thread, or one that waits for another, only if nothing has moved on the whole
/// host meanwhile, as it may be waiting for long work. Time in which the process did not run does not count.
///
/// The ranks of a host share what they tell. The first that notices lets all of them report; one prints it for all, for
/// those too that are stopped or gone, in one write to stderr. Then the process ends with status 1, and the launcher
/// ends the job. A rank that has ended without a word is told of at once, before the launcher ends the others, which it
/// has some seconds to do; where it does not, this does.
class Watchdog {
 public:
  struct Options {
    double limit = 600;             ///< seconds without movement
    std::string name = "watchdog";  ///< what the limit is called, for the report
    /// Also told what is printed, in a line, on the watchdog's thread of the rank that prints it.
    std::function<void(const std::string&)> noticed;
    std::function<void()> expired;  ///< instead of ending the process; on the watchdog's thread
  };

  /// Collective over the world. Made and destroyed on the main thread while no other tells what it does. A limit of 0,
  /// the same on all ranks: nothing is watched.
  Watchdog(World& world, Options options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// From now on; the limit must not have been 0.
  void set_limit(double seconds);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
