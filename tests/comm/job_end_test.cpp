// How a job under mpirun ends when one of its ranks does not go on. Starts disabled cases of test_comm_mpi, which is
// built beside this program, and looks at them from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

#include "tests/support/programs.h"

namespace trireme {
namespace {

using testing::HasSubstr;

struct Outcome {
  int status = -1;
  std::string output;
};

Outcome run_case(const std::string& name) {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  // The outer limit only keeps a broken job from outliving this test: its status, 124, is none that is expected.
  const std::string command = "TRIREME_TEST_TIMEOUT=1 timeout 100 bash " + test::mpirun_script() + " 4 " +
                              (folder / "test_comm_mpi").string() +
                              " --gtest_also_run_disabled_tests --gtest_filter=WorldTest.DISABLED_" + name + " 2>&1";
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> buffer{};
  while (const std::size_t bytes = std::fread(buffer.data(), 1, buffer.size(), pipe))
    outcome.output.append(buffer.data(), bytes);
  const int ended = pclose(pipe);
  if (WIFEXITED(ended)) outcome.status = WEXITSTATUS(ended);
  return outcome;
}

TEST(JobEnd, AbortEndsEveryRankWithItsStatusAndKeepsWhatWasPrinted) {
  const Outcome outcome = run_case("EndsTheJobWithAStatus");
  EXPECT_EQ(outcome.status, 75) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("last words"));
}

TEST(JobEnd, AFailureOnOneRankFailsTheJob) {
  const Outcome outcome = run_case("FailsOnTheLastRank");
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("rank 3: "));
  EXPECT_THAT(outcome.output, HasSubstr("FAILED on another rank"));
}

TEST(JobEnd, AHungTestIsNamedWithItsStack) {
  const Outcome outcome = run_case("WaitsForWhatNeverComes");
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("test WorldTest.DISABLED_WaitsForWhatNeverComes > barrier in world"));
  EXPECT_THAT(outcome.output, HasSubstr("\n  MPI_Barrier"));
}

TEST(JobEnd, AFailureDoesNotLeaveTheOthersWaiting) {
  const Outcome outcome = run_case("FailsWhileOthersWait");
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("failure in WorldTest.DISABLED_FailsWhileOthersWait"));
}

}  // namespace
}  // namespace trireme
