// Runs of the built executable in which a rank no longer goes on. What is done to them is seen in /proc, their progress
// in the metrics file.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>

#include "tests/app/job.h"
#include "tests/app/training_support.h"

namespace trireme::test {
namespace {

using std::chrono::seconds;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

constexpr int limit = 3;  // seconds that the watchdog gives

/// What the watchdog notices, it notices in time: a rank had been still for the limit, and at most a second more, which
/// is what a look counts at once.
void expect_in_time(const std::string& output) {
  const std::string words = " has not moved for ";
  const auto at = output.find(words);
  ASSERT_NE(at, std::string::npos) << output;
  EXPECT_NEAR(std::atoi(output.c_str() + at + words.size()), limit + 1, 1) << output;
}

class WatchdogTest : public TrainingTest {
 protected:
  /// A run that does not end by itself.
  Job run(const Layout& layout, const std::string& environment = "", const std::string& more = "") const {
    return {layout.ranks(),
            arguments("--train.steps=1000000 --train.watchdog=" + std::to_string(limit) + layout.arguments() +
                      " --log.metrics=" + (folder_ / "metrics.jsonl").string() + " " + more),
            environment};
  }
  bool has_steps(std::int64_t count) const { return lines_in(folder_ / "metrics.jsonl") >= count; }
  /// Files under `path` stop answering on that rank once trigger() was called.
  std::string stall(const std::filesystem::path& path, int rank, bool on_main = false) const {
    return "LD_PRELOAD=" + stall_library() + " TRIREME_STALL_PATH=" + path.string() +
           " TRIREME_STALL_RANK=" + std::to_string(rank) + " TRIREME_STALL_TRIGGER=" + (folder_ / "trigger").string() +
           (on_main ? " TRIREME_STALL_MAIN=1" : "") + " ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0";
  }
  void trigger() const { write_text(folder_ / "trigger", ""); }
};

#define SKIP_WITHOUT_STALL_LIBRARY() \
  if (!std::filesystem::exists(stall_library())) GTEST_SKIP() << stall_library() << " is not there: not built here"

TEST_F(WatchdogTest, AStoppedRankIsNamedAndEveryRankTellsWhereItIs) {
  const auto events = folder_ / "events.jsonl";
  Job job = run({.data = 2, .pipeline = 2}, "", "--log.events=" + events.string());
  ASSERT_TRUE(job.until([&] { return has_steps(3); })) << job.err();
  const pid_t stopped = job.ranks().at(2);
  ASSERT_EQ(kill(stopped, SIGSTOP), 0);
  EXPECT_EQ(job.wait(), 1);
  const std::string output = job.err();
  expect_in_time(output);
  EXPECT_THAT(output, ContainsRegex("trireme: rank 2 \\(host [^)]+\\) has not moved for [0-9]+ s: training.*"
                                    "; the process is stopped by a signal"));
  for (const int rank : {0, 1, 3})
    EXPECT_THAT(output, ContainsRegex("  rank " + std::to_string(rank) +
                                      " \\(process [0-9]+\\), main, for [0-9.]+ s: training > step [0-9]+"));
  EXPECT_THAT(output, ContainsRegex("rank 2 \\(process " + std::to_string(stopped) +
                                    ", which is stopped by a signal\\), main"));
  EXPECT_THAT(output, AllOf(HasSubstr("stack of rank"), HasSubstr("trireme::Trainer::step")));
  EXPECT_THAT(output, HasSubstr("\ntrireme: rank 2 is stopped by a signal; the others wait for it, or will\n"
                                "trireme: the job ends with status 1 (train.watchdog = 3 s)\n"));
  EXPECT_THAT(read_text(events), ContainsRegex("\"event\":\"alert\",\"what\":\"rank 2 [^\"]* has not moved for"));
  EXPECT_EQ(lines_in(events), 2) << "it began, and one rank told of this";
}

TEST_F(WatchdogTest, ADeadRankEndsTheJobAtOnceAndEveryRankTellsWhereItWas) {
  Job job = run({.data = 2, .pipeline = 2});
  ASSERT_TRUE(job.until([&] { return has_steps(3); })) << job.err();
  const std::string dead = std::to_string(job.ranks().at(1));
  job.signal(1, SIGKILL);
  const int status = job.wait();
  EXPECT_GT(status, 0) << job.err();
  EXPECT_NE(status, 75) << job.err();
  EXPECT_THAT(job.err(), ContainsRegex("trireme: rank 1 \\(host [^)]+, process " + dead + "\\) has died"));
  for (const std::string rank : {"0", "2", "3"})
    EXPECT_THAT(job.err(), ContainsRegex("  rank " + rank + " \\(process [0-9]+.*\\), main, for [0-9.]+ s: training"));
  EXPECT_THAT(job.err(), ContainsRegex("  rank 1 \\(process " + dead + ", which .*\\), main, for [0-9.]+ s: training"));
}

TEST_F(WatchdogTest, ACheckpointThatHangsInAFileOperationIsNamed) {
  SKIP_WITHOUT_STALL_LIBRARY();
  trigger();
  Job job = run({.data = 2}, stall(folder_ / "saved", 0), checkpoints("saved") + "--checkpoint.every=5");
  EXPECT_EQ(job.wait(), 1);
  const std::string output = job.err();
  expect_in_time(output);
  EXPECT_THAT(output, ContainsRegex("trireme: rank 0's thread \"checkpoint\" \\(host [^)]+\\) has not moved for [0-9]+ "
                                    "s: saving checkpoint 5 > .*saved/step-00000005.partial"));
  EXPECT_THAT(output, ContainsRegex("  rank 1 \\(process [0-9]+\\), main, for"));
  EXPECT_THAT(output, ContainsRegex("stack of rank 0, checkpoint\n(  .*\n)*  (pwrite|fsync)"));
  EXPECT_THAT(output, ContainsRegex("\ntrireme: rank 0's thread \"checkpoint\" hangs in saving checkpoint 5 > "));
}

TEST_F(WatchdogTest, ALoaderThatHangsIsNamed) {
  SKIP_WITHOUT_STALL_LIBRARY();
  trigger();
  Job job = run({.data = 2}, stall(*shared / "train.h5", 1));
  EXPECT_EQ(job.wait(), 1);
  const std::string output = job.err();
  expect_in_time(output);
  EXPECT_THAT(output, ContainsRegex("trireme: rank 1's thread \"loader\" \\(host [^)]+\\) has not moved for [0-9]+ s: "
                                    "sample [0-9]+ > reading token [0-9]+ of .*/train.h5"));
  EXPECT_THAT(output, ContainsRegex("  rank 1 \\(process [0-9]+\\), main, for [0-9.]+ s: training > step 1 > waiting "
                                    "for the loader"));
  EXPECT_THAT(output, ContainsRegex("  rank 0 \\(process [0-9]+\\), main, for"));
  EXPECT_THAT(output, HasSubstr("\ntrireme: rank 1's thread \"loader\" hangs in sample "));
  EXPECT_THAT(output, HasSubstr("; the others wait for it, or will\n"));
}

TEST_F(WatchdogTest, ADataSetThatCannotBeOpenedIsNamed) {
  SKIP_WITHOUT_STALL_LIBRARY();
  trigger();
  Job job = run({.data = 2}, stall(*shared / "train.h5", 0, true));
  EXPECT_EQ(job.wait(), 1);
  expect_in_time(job.err());
  EXPECT_THAT(job.err(), ContainsRegex("trireme: rank 0 \\(host [^)]+\\) has not moved for [0-9]+ s: training > "
                                       "opening .*/train.h5\n"));
}

/// Long: it stops for longer than the limit.
TEST_F(WatchdogTest, LongStopsOfTheWholeJobDoNotCount) {
  Job job = run({.data = 2});
  ASSERT_TRUE(job.until([&] { return has_steps(3); })) << job.err();
  for (const int rank : {0, 1}) ASSERT_EQ(kill(job.ranks().at(rank), SIGSTOP), 0);
  EXPECT_FALSE(wait_until([&] { return job.ended(); }, seconds(3 * limit)));
  for (const int rank : {0, 1}) ASSERT_EQ(kill(job.ranks().at(rank), SIGCONT), 0);
  const std::int64_t steps = lines_in(folder_ / "metrics.jsonl");
  EXPECT_TRUE(job.until([&] { return has_steps(steps + 100); })) << job.err();
  EXPECT_THAT(job.err(), Not(HasSubstr("has not moved")));
}

}  // namespace
}  // namespace trireme::test
