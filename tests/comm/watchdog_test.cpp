#include "tests/support/watchdog.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <future>

namespace trireme {
namespace {

using std::chrono::milliseconds;

TEST(WatchdogDeathTest, ReportsNameAndStackOfWhatHangs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto hang = [] {
    Watchdog watchdog("rank 3: ", [] { std::_Exit(7); });
    watchdog.start("Suite.Case", milliseconds(1));
    for (;;) pause();
  };
  EXPECT_EXIT(hang(), testing::ExitedWithCode(7), "rank 3: Suite.Case did not end in 1ms(.|\n)*rank 3:   .*pause");
}

TEST(Watchdog, LeavesAloneWhatStops) {
  Watchdog watchdog("", [] { std::abort(); });
  watchdog.start("first", std::chrono::hours(1));
  watchdog.stop();
  watchdog.start("second", std::chrono::hours(1));
}

TEST(Watchdog, ANewStartReplacesTheLimit) {
  std::promise<void> expired;
  Watchdog watchdog("", [&] { expired.set_value(); });
  watchdog.start("long", std::chrono::hours(1));
  testing::internal::CaptureStderr();
  watchdog.start("short", milliseconds(1));
  expired.get_future().wait();
  EXPECT_NE(testing::internal::GetCapturedStderr().find("short did not end"), std::string::npos);
}

}  // namespace
}  // namespace trireme
