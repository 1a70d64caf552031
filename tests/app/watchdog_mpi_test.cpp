// When a watchdog bites and when it does not, on any number of ranks of this host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "app/watchdog.h"
#include "kernels/activity.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr double limit = 0.5;  // seconds

class WatchdogOnRanks : public testing::Test {
 protected:
  Watchdog::Options options() {
    return {.limit = limit, .name = "the limit", .expired = [this] { expired_ = true; }};
  }
  /// Calls `work` again and again, for so many limits or until the watchdog bites; tells whether it did. Each rank
  /// waits for its own, so none leaves before all have been told.
  template <typename Work>
  bool bites(Work work, double limits) {
    const auto end = Clock::now() + std::chrono::duration<double>(limits * limit);
    while (!expired_ && Clock::now() < end) {
      work();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return expired_;
  }

  World& world_ = test_world();
  std::atomic<bool> expired_ = false;
};

/// A thread with an activity of its own.
class Worker {
 public:
  Worker(Waits waits, bool moves)
      : thread_([this, waits, moves] {
          const ActivityThread row("worker");
          Activity activity("digging", "a hole", 0, waits);
          for (int spade = 0; !stop_; ++spade) {
            if (moves) activity.at(spade);
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
          }
        }) {}
  ~Worker() {
    stop_ = true;
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

TEST_F(WatchdogOnRanks, LeavesAloneWhatMoves) {
  const Watchdog watchdog(world_, options());
  Activity activity("working");
  int at = 0;
  EXPECT_FALSE(bites([&] { activity.at(++at); }, 2));
  world_.all().barrier();
}

TEST_F(WatchdogOnRanks, LeavesAloneWhatWaitsForSomethingThatMovesOnAnyRank) {
  const Watchdog watchdog(world_, options());
  const Activity activity("waiting", {}, -1, Waits::for_ranks);
  {
    const std::optional<Worker> worker =
        world_.rank() == 0 ? std::optional<Worker>(std::in_place, Waits::no, true) : std::nullopt;
    EXPECT_FALSE(bites([] {}, 2));
  }
  world_.all().barrier();
}

TEST_F(WatchdogOnRanks, BitesOnAllRanksWhenNothingMoves) {
  testing::internal::CaptureStderr();
  {
    const Watchdog watchdog(world_, options());
    const Activity activity("waiting for Godot", {}, -1, Waits::for_ranks);
    EXPECT_TRUE(bites([] {}, 60));
  }
  world_.all().barrier();
  const std::string printed = testing::internal::GetCapturedStderr();
  const int reporters = printed.empty() ? 0 : 1;
  MemoryPool pool(make_host_memory());
  Tensor sum(pool, {1}, DType::i32);
  sum.values<std::int32_t>()[0] = reporters;
  world_.all().all_reduce(sum, Reduction::sum).wait();
  EXPECT_EQ(sum.values<std::int32_t>()[0], 1) << "one rank prints for all";
  if (reporters == 0) return;
  for (int rank = 0; rank < world_.size(); ++rank)
    EXPECT_THAT(printed, HasSubstr("\n  rank " + std::to_string(rank) + " (process "));
  EXPECT_THAT(printed, HasSubstr("waiting for Godot"));
  EXPECT_THAT(printed, HasSubstr("(the limit = 0.5 s)"));
}

TEST_F(WatchdogOnRanks, BitesWhenAThreadHangsThoughOthersMove) {
  testing::internal::CaptureStderr();
  {
    const Watchdog watchdog(world_, options());
    Activity activity("working");
    const std::optional<Worker> worker =
        world_.rank() == 0 ? std::optional<Worker>(std::in_place, Waits::no, false) : std::nullopt;
    int at = 0;
    EXPECT_TRUE(bites([&] { activity.at(++at); }, 60));
  }
  world_.all().barrier();
  const std::string printed = testing::internal::GetCapturedStderr();
  // One rank prints for all.
  EXPECT_TRUE(printed.empty() || printed.find("rank 0's thread \"worker\" hangs in digging") != std::string::npos)
      << printed;
}

TEST_F(WatchdogOnRanks, NoLimitNoWatchdog) {
  const Watchdog watchdog(world_, {.limit = 0});
  const Activity activity("hanging");
  EXPECT_FALSE(bites([] {}, 0.5));
}

}  // namespace
}  // namespace trireme
