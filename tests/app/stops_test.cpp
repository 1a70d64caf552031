// Runs that stop before their end: at a time limit, on a signal; and go on as if nothing had been.
#include <gmock/gmock.h>

#include <ctime>

#include "tests/app/job.h"
#include "tests/app/training_support.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using test::Job;
using test::ProcessResult;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Stops : public test::TrainingTest {
 protected:
  std::string command(const std::string& name, std::int64_t steps, const std::string& more = "") const {
    return arguments("--log.timing=false --log.progress=plain --train.steps=" + std::to_string(steps) +
                     " --log.metrics=" + metrics(name).string() + checkpoints(name) + more);
  }
  fs::path metrics(const std::string& name) const { return folder_ / (name + ".jsonl"); }
  std::int64_t newest(const std::string& name) const {
    const auto steps = list_checkpoints(folder_ / name);
    return steps.empty() ? 0 : steps.back();
  }
  void expect_same(const std::string& name, const std::string& wanted) const {
    EXPECT_EQ(test::read_text(metrics(name)), test::read_text(metrics(wanted)));
    EXPECT_EQ(test::contents_of(checkpoint_path(folder_ / name, newest(name))),
              test::contents_of(checkpoint_path(folder_ / wanted, newest(wanted))));
  }
  /// Where a file of this name is, ranks that get gate_environment() wait with all that they would flush to disk.
  fs::path gate() const { return folder_ / "gate"; }
  std::string gate_environment() const {
    return "LD_PRELOAD=" + test::gate_library() + " TRIREME_GATE=" + gate().string();
  }
};

TEST_F(Stops, ATimeLimitThatHasPassedLeavesOneStepALife) {
  const std::string limited = command("limited", 2, "--train.time_limit=0.001");
  for (int step = 1; step <= 2; ++step) {
    const ProcessResult life = test::mpirun(2, limited);
    EXPECT_EQ(life.status, step < 2 ? 75 : 0) << life.err;
    EXPECT_EQ(newest("limited"), step);
    if (step == 2) break;
    EXPECT_THAT(life.err, HasSubstr("after step " + std::to_string(step) + " ahead of the time limit"));
  }
  ASSERT_EQ(test::mpirun(2, command("undisturbed", 2)).status, 0);
  expect_same("limited", "undisturbed");
}

TEST_F(Stops, ATimeLimitEndsTheRunInTime) {
  constexpr double limit = 2;  // seconds
  const ProcessResult life = test::mpirun(2, arguments("--train.steps=1000000 --train.time_limit=2 --log.metrics=" +
                                                       metrics("limited").string() + checkpoints("limited")));
  EXPECT_EQ(life.status, 75) << life.err;
  const auto lines = read_metrics("limited");
  ASSERT_EQ(newest("limited"), std::ssize(lines));
  // At the vote of the last step but one, which was not to stop yet, there was time left.
  double seconds = 0;
  for (std::size_t i = 0; i + 2 < lines.size(); ++i) seconds += static_cast<double>(lines[i]["step_seconds"]);
  EXPECT_LT(seconds, limit);
}

TEST_F(Stops, TheEndOfASlurmJobIsATimeLimit) {
  const std::string slurm = "SLURM_JOB_END_TIME=" + std::to_string(std::time(nullptr));
  Job job(2, command("limited", 1'000'000, "--train.time_limit=1000000"), slurm);
  EXPECT_EQ(job.wait(), 75) << job.err();
  EXPECT_TRUE(job.said("after step 1 ahead of the time limit")) << job.err();
  EXPECT_EQ(newest("limited"), 1);
}

TEST_F(Stops, ASignalToOneRankStopsAll) {
  const std::string stopped = command("stopped", 1'000'000);
  for (const auto& [rank, signal] : {std::pair{1, SIGTERM}, {0, SIGUSR1}, {1, SIGINT}}) {
    SCOPED_TRACE(strsignal(signal));
    const std::int64_t before = newest("stopped");
    Job job(2, stopped);
    ASSERT_TRUE(job.until([&] { return test::lines_in(metrics("stopped")) >= before + 3; })) << job.err();
    job.signal(rank, signal);
    EXPECT_EQ(job.wait(), 75) << job.err();
    EXPECT_TRUE(job.said(" on request; the same command goes on from there")) << job.err();
    EXPECT_GE(newest("stopped"), before + 3);
    EXPECT_EQ(newest("stopped"), test::lines_in(metrics("stopped")));
  }
}

TEST_F(Stops, AValidationIsAbandonedAndMadeUpFor) {
  test::write_text(folder_ / "text.txt", test::learnable_text(60000));
  const ProcessResult packed =
      test::run_trireme("pack text --tokenizer=characters --vocabulary=100 --validation-share=0.5 --input=" +
                        (folder_ / "text.txt").string() + " --output=" + (folder_ / "train.h5").string() +
                        " --validation-output=" + (folder_ / "validation.h5").string());
  ASSERT_EQ(packed.status, 0) << packed.err;
  const std::string data =
      "--data.train=" + (folder_ / "train.h5").string() + " --data.validation=" + (folder_ / "validation.h5").string();
  ASSERT_EQ(test::mpirun(2, command("undisturbed", 5, data)).status, 0);

  const std::string stopped = command("stopped", 5, data);
  {
    Job job(2, stopped);
    // The line of step 5, the last, comes after its validation, which takes longer than a step by far.
    ASSERT_TRUE(job.until([&] { return test::lines_in(metrics("stopped")) >= 4; })) << job.err();
    job.signal(1, SIGTERM);
    EXPECT_EQ(job.wait(), 75) << job.err();
    EXPECT_FALSE(job.said("validation loss"));
    EXPECT_EQ(newest("stopped"), 5);
    EXPECT_THAT(test::read_text(metrics("stopped")), Not(HasSubstr("validation_loss")));
  }
  {
    Job job(2, stopped);  // begins with what was missed
    ASSERT_TRUE(job.until([&] { return job.said("resumed     step 5"); })) << job.err();
    job.signal(0, SIGTERM);
    EXPECT_EQ(job.wait(), 75) << job.err();
    EXPECT_EQ(test::lines_in(metrics("stopped")), 5);
    EXPECT_THAT(test::read_text(metrics("stopped")), Not(HasSubstr("validation_loss")));
  }
  ASSERT_EQ(test::mpirun(2, stopped).status, 0);
  expect_same("stopped", "undisturbed");
}

TEST_F(Stops, ASignalDuringASaveSavesTheNewestStepToo) {
  if (!fs::exists(test::gate_library())) GTEST_SKIP() << "no gate library: " << test::gate_library();
  Job job(2, command("stopped", 1'000'000, "--checkpoint.every=10"), gate_environment());
  ASSERT_TRUE(job.until([&] { return newest("stopped") >= 10; })) << job.err();
  test::write_text(gate(), "");
  const std::int64_t before = newest("stopped");
  ASSERT_TRUE(job.until([&] { return job.said("is still being written"); })) << job.err();
  job.signal(1, SIGTERM);
  EXPECT_LE(newest("stopped"), before + 10) << "the disk stood still";
  EXPECT_FALSE(job.ended());
  fs::remove(gate());
  EXPECT_EQ(job.wait(), 75) << job.err();
  EXPECT_EQ(newest("stopped"), test::lines_in(metrics("stopped")));
  EXPECT_GT(newest("stopped"), before);
  test::contents_of(checkpoint_path(folder_ / "stopped", newest("stopped")));
}

/// One wish may come twice, from a launcher and from a terminal: what comes within a second is the same one.
TEST_F(Stops, ALaterSigintEndsTheRunAtOnce) {
  if (!fs::exists(test::gate_library())) GTEST_SKIP() << "no gate library: " << test::gate_library();
  Job job(2, command("stopped", 1'000'000, "--checkpoint.every=10"), gate_environment());
  ASSERT_TRUE(job.until([&] { return newest("stopped") >= 10; })) << job.err();
  test::write_text(gate(), "");
  ASSERT_TRUE(job.until([&] { return job.said("is still being written"); })) << job.err();
  const auto first = std::chrono::steady_clock::now();
  job.until([&] {
    job.signal(1, SIGINT);
    return job.ended();
  });
  EXPECT_GE(std::chrono::duration<double>(std::chrono::steady_clock::now() - first).count(), 1.0);
  const int status = job.wait(std::chrono::seconds(10));
  EXPECT_EQ(status, 128 + SIGINT) << job.err();
  test::contents_of(checkpoint_path(folder_ / "stopped", newest("stopped")));
  const bool unfinished = std::ranges::any_of(fs::directory_iterator(folder_ / "stopped"),
                                              [](const auto& entry) { return entry.path().extension() == ".partial"; });
  EXPECT_TRUE(unfinished) << "it ended in the middle of a save";
}

}  // namespace
}  // namespace trireme
