#include "kernels/activity.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace trireme {
namespace {

/// The row of a thread that is at work on this board; a null pointer where it has none.
const ActivityRow* row_of(std::string_view thread) {
  for (const ActivityRow& row : activity_board().rows)
    if (row.system_thread != 0 && row.name() == thread) return &row;
  return nullptr;
}

TEST(ActivityTest, NestsAndTellsWhatNumberAndName) {
  const ActivityThread thread("nesting");
  const ActivityRow* row = row_of("nesting");
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->to_string(), "");
  const Activity training("training");
  {
    Activity step("step", {}, 17);
    EXPECT_EQ(row->to_string(), "training > step 17");
    const Activity reading("reading sample", "/data/train.h5", 3);
    EXPECT_EQ(row->to_string(), "training > step 17 > reading sample 3 of /data/train.h5");
    step.at(18);
    EXPECT_EQ(row->to_string(), "training > step 18 > reading sample 3 of /data/train.h5");
  }
  const Activity wait("all-reduce in", "data", -1, Waits::for_ranks);
  EXPECT_EQ(row->to_string(), "training > all-reduce in data");
  EXPECT_EQ(row->waits(), Waits::for_ranks);
}

TEST(ActivityTest, EveryChangeIsAMovementButNamingIsNot) {
  const ActivityThread thread("moving");
  const ActivityRow* row = row_of("moving");
  std::uint64_t last = row->movements;
  const auto moved = [&] { return row->movements != std::exchange(last, row->movements); };
  {
    Activity activity("one");
    EXPECT_TRUE(moved());
    activity.at(2);
    EXPECT_TRUE(moved());
    name_activity("of another", Waits::for_ranks);
    EXPECT_FALSE(moved());
    EXPECT_EQ(row->to_string(), "one 2 of of another");
  }
  EXPECT_TRUE(moved());
  EXPECT_FALSE(moved());
}

TEST(ActivityTest, TextsTooLongAndNestsTooDeepAreCut) {
  const ActivityThread thread("deep");
  const ActivityRow* row = row_of("deep");
  const std::string path = std::string(500, 'x') + "/the_end";
  {
    const Activity activity(std::string(50, 'w'), path);
    const std::string text = row->to_string();
    EXPECT_EQ(text.substr(0, 32), std::string(31, 'w') + " ");
    EXPECT_EQ(text.substr(text.size() - 8), "/the_end");
  }
  std::vector<std::unique_ptr<Activity>> nest;
  for (int level = 0; level < 12; ++level) nest.push_back(std::make_unique<Activity>("level", "", level));
  EXPECT_EQ(row->depth, 12U);
  EXPECT_EQ(row->to_string().substr(row->to_string().size() - 7), "level 7");
  while (!nest.empty()) nest.pop_back();
  EXPECT_EQ(row->to_string(), "");
}

TEST(ActivityTest, ThreadsHaveRowsWhileTheyLiveAndNoMoreThanThereAre) {
  std::thread([] {
    const Activity nowhere("without a row");
    const ActivityThread thread("short-lived");
    const ActivityThread again("second row");  // one a thread
    EXPECT_NE(row_of("short-lived"), nullptr);
    EXPECT_EQ(row_of("second row"), nullptr);
  }).join();
  EXPECT_EQ(row_of("short-lived"), nullptr);

  std::promise<void> go_on;
  const std::shared_future<void> end = go_on.get_future();
  std::vector<std::thread> threads;
  std::atomic<int> ready = 0;
  for (int i = 0; i < 20; ++i)
    threads.emplace_back([&] {
      const ActivityThread thread("one of many");
      const Activity activity("waiting");
      ++ready;
      end.wait();
    });
  while (ready < 20) std::this_thread::yield();
  int rows = 0;
  for (const ActivityRow& row : activity_board().rows) rows += row.system_thread != 0 ? 1 : 0;
  EXPECT_EQ(rows, 16);
  go_on.set_value();
  for (std::thread& thread : threads) thread.join();
}

TEST(ActivityTest, ABoardMovesWithActivitiesUnderWay) {
  const ActivityThread thread("moved");
  const Activity outer("outer");
  auto inner = std::make_unique<Activity>("inner");
  static ActivityBoard elsewhere{};
  ActivityBoard& before = activity_board();
  move_activities(elsewhere);
  EXPECT_NE(&activity_board(), &before);
  EXPECT_EQ(row_of("moved")->to_string(), "outer > inner");
  inner.reset();
  EXPECT_EQ(row_of("moved")->to_string(), "outer");
}

TEST(ActivityTest, GivesSignalHandlersAStackWhileItLives) {
  std::thread([] {
    const auto has_stack = [] {
      stack_t stack{};
      sigaltstack(nullptr, &stack);
      return (stack.ss_flags & SS_DISABLE) == 0;
    };
    const bool had = has_stack();  // a sanitizer's
    {
      const ActivityThread thread("with a stack");
      EXPECT_TRUE(has_stack());
    }
    EXPECT_EQ(has_stack(), had);
  }).join();
}

/// Only a bound far above the 10 to 20 ns that it takes: machines differ, and are busy.
TEST(ActivityTest, CostsNothingThatAStepWouldNotice) {
  const ActivityThread thread("timed");
  constexpr int count = 200000;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) const Activity activity("receive_activation of microbatch", "pipeline", i);
  const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
  RecordProperty("ns_per_activity", std::to_string(spent.count() / count));
  EXPECT_LT(spent.count() / count, 1000);
}

}  // namespace
}  // namespace trireme
