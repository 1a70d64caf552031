// Where a run goes on from when checkpoints are damaged.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/app/training_support.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Resume : public test::TrainingTest {
 protected:
  /// Makes checkpoints of steps 2, 4 and 6.
  void SetUp() override { ASSERT_EQ(go_on(6).status, 0); }

  test::ProcessResult go_on(int steps, const std::string& more = "") const {
    return test::mpirun(2,
                        arguments("--checkpoint.every=2 --train.steps=" + std::to_string(steps) + checkpoints("run") +
                                  "--log.metrics=" + (folder_ / "run.jsonl").string() + " " + more));
  }
  fs::path folder(int step) const { return folder_ / "run" / ("step-0000000" + std::to_string(step)); }
  /// Flips a bit in the midst of a shard.
  void damage(int step) const {
    const fs::path shard = folder(step) / "shard-00001.h5";
    std::fstream file(shard, std::ios::binary | std::ios::in | std::ios::out);
    const auto middle = static_cast<std::streamoff>(fs::file_size(shard) / 2);
    file.seekg(middle);
    const int byte = file.get();
    file.seekp(middle);
    file.put(static_cast<char>(byte ^ 16));
  }
};

TEST_F(Resume, TakesTheNewestWholeCheckpointAndNamesTheDamaged) {
  ASSERT_EQ(go_on(8).status, 0);
  const auto undisturbed = read_metrics("run");
  damage(8);
  fs::remove(folder(6) / "shard-00000.h5");
  const auto run = go_on(8);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("step-00000008 is damaged"), HasSubstr("shard-00001.h5"),
                             HasSubstr("step-00000006 is damaged"), HasSubstr("shard-00000.h5"),
                             HasSubstr("set aside as step-00000008.damaged")));
  EXPECT_TRUE(fs::exists(folder_ / "run" / "step-00000006.damaged"));
  EXPECT_TRUE(fs::exists(folder(8)));  // made again
  expect_identical(read_metrics("run"), undisturbed);
}

TEST_F(Resume, NeverBeginsAnewWhereAllAreDamaged) {
  for (const int step : {2, 4, 6}) damage(step);
  const auto run = go_on(8);
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.err, AllOf(HasSubstr("checkpoint.directory="), HasSubstr("found only damaged checkpoints")));
  EXPECT_EQ(read_metrics("run").size(), 6U) << "the metrics of the run are gone";
  for (const int step : {2, 4, 6}) EXPECT_TRUE(fs::exists(folder(step)));
  // Nor where they were set aside and the others lost.
  for (const int step : {2, 4}) fs::remove_all(folder(step));
  fs::rename(folder(6), folder(6).string() + ".damaged");
  EXPECT_EQ(go_on(8).status, 2);
  EXPECT_EQ(go_on(8, "--checkpoint.resume=never").status, 0);
}

TEST_F(Resume, NeverBeginsAnewWhereTheMetricsTellOfAnEarlierLife) {
  fs::rename(folder_ / "run", folder_ / "gone");
  const auto refused = go_on(8);
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("found no checkpoint"), HasSubstr("run.jsonl tells of 6 steps")));
  EXPECT_EQ(read_metrics("run").size(), 6U) << "the metrics of the run are gone";
  const auto anew = go_on(1, "--checkpoint.resume=never --log.progress=plain");
  EXPECT_EQ(anew.status, 0) << anew.err;
  EXPECT_THAT(anew.err, HasSubstr("begun       anew: checkpoint.resume=never"));
}

TEST_F(Resume, BeginsAnewWhereTheFirstCheckpointWasStillToCome) {
  fs::remove_all(folder_ / "run");
  const std::string told = test::read_text(folder_ / "run.jsonl");
  test::write_text(folder_ / "run.jsonl", told.substr(0, told.find("{\"step\":4,")));
  const auto run = go_on(8, "--log.progress=plain");
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("begun       anew: there is no checkpoint yet"));
  EXPECT_EQ(read_metrics("run").size(), 8U);
}

TEST_F(Resume, AStepThatWasAskedForIsTakenOrRefused) {
  damage(4);
  const auto refused = go_on(8, "--checkpoint.resume=4");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("checkpoint.resume=4"), HasSubstr("shard-00001.h5")));
  EXPECT_TRUE(fs::exists(folder(4)));
  EXPECT_EQ(go_on(8, "--checkpoint.resume=2").status, 0);
  EXPECT_EQ(read_metrics("run").size(), 8U);
}

TEST_F(Resume, ReadersLeaveDamagedCheckpointsWhereTheyAre) {
  damage(6);
  const auto run = test::run_trireme("eval --data.validation=" + (*shared / "validation.h5").string() +
                                     checkpoints("run") + "--train.device=cpu");
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("step-00000006 is damaged"), Not(HasSubstr("set aside"))));
  EXPECT_THAT(run.out, HasSubstr("step 4 "));
  EXPECT_TRUE(fs::exists(folder(6)));
}

}  // namespace
}  // namespace trireme
