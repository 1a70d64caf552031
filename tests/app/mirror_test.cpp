// Runs whose checkpoints are mirrored, with troubles between them and the mirror.
#include "io/mirror/mirror.h"

#include <gmock/gmock.h>

#include "tests/app/job.h"
#include "tests/app/training_support.h"
#include "tests/support/s3/server.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using test::Job;
using test::S3Server;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class MirrorOfARun : public test::TrainingTest {
 protected:
  void SetUp() override {
    setenv("AWS_ACCESS_KEY_ID", S3Server::key, 1);
    setenv("AWS_SECRET_ACCESS_KEY", S3Server::secret, 1);
    setenv("AWS_ENDPOINT_URL", server_.endpoint().c_str(), 1);
  }
  std::string command(int steps, const std::string& more = "") const {
    return arguments("--checkpoint.every=4 --checkpoint.keep=2 --checkpoint.mirror=s3://bucket/run --train.steps=" +
                     std::to_string(steps) + checkpoints("run") + "--log.metrics=" + (folder_ / "run.jsonl").string() +
                     " " + more);
  }
  std::vector<std::int64_t> mirrored() const { return CheckpointMirror("s3://bucket/run").steps(); }

  S3Server server_;
};

TEST_F(MirrorOfARun, AnEmptyDirectoryGoesOnFromTheMirrorWithTheSameBits) {
  const std::string plain = arguments("--train.steps=16 --log.metrics=" + (folder_ / "plain.jsonl").string());
  ASSERT_EQ(test::mpirun(2, plain).status, 0);
  const auto first = test::mpirun(2, command(10, "--log.progress=plain"));
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.err, HasSubstr("mirrored    s3://bucket/run/step-00000010.json"));
  EXPECT_THAT(mirrored(), ElementsAre(8, 10));
  fs::remove_all(folder_ / "run");

  const auto second = test::mpirun(2, command(16));
  ASSERT_EQ(second.status, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("step-00000010 is restored from s3://bucket/run/step-00000010.json"));
  EXPECT_THAT(mirrored(), ElementsAre(12, 16));
  expect_identical(read_metrics("run"), read_metrics("plain"));

  // Neither what is printed nor what is kept tells who we are to the server.
  std::string all = first.err + first.out + second.err + second.out + test::read_text(folder_ / "run.jsonl");
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "run"))
    if (entry.is_regular_file()) all += test::read_text(entry.path());
  EXPECT_THAT(all, HasSubstr("mirror = s3://bucket/run")) << "the configuration in a checkpoint";
  EXPECT_EQ(all.find(S3Server::secret), std::string::npos);
  EXPECT_EQ(all.find(S3Server::key), std::string::npos);
}

TEST_F(MirrorOfARun, ADamagedCheckpointIsReplacedByItsCopy) {
  ASSERT_EQ(test::mpirun(2, command(8)).status, 0);
  test::write_text(folder_ / "run" / "step-00000008" / "shard-00001.h5", "damaged");
  const auto run = test::mpirun(2, command(12));
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("step-00000008 is damaged"), HasSubstr("step-00000008 is restored")));
  EXPECT_EQ(read_metrics("run").size(), 12U);
}

TEST_F(MirrorOfARun, OneThatFailsIsReportedAndTrainingGoesOn) {
  server_.add_fault("503 1000000 0 PUT");
  const auto run = test::mpirun(2, command(8));
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("NOT MIRRORED s3://bucket/run/step-00000008."), HasSubstr("HTTP 503"),
                             HasSubstr("lacks the newest of " + (folder_ / "run").string())));
  EXPECT_EQ(read_metrics("run").size(), 8U);
  EXPECT_THAT(list_checkpoints(folder_ / "run"), ElementsAre(4, 8));
}

TEST_F(MirrorOfARun, WithoutAnyCheckpointNothingIsBegunWhileTheMirrorDoesNotAnswer) {
  server_.add_fault("503 1000000 0 GET");
  const auto run = test::mpirun(2, command(8));
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.err, AllOf(HasSubstr("s3://bucket/run"), HasSubstr("HTTP 503")));
  EXPECT_FALSE(fs::exists(folder_ / "run.jsonl"));
}

TEST_F(MirrorOfARun, AKilledUploadIsNoCopyAndIsMadeUpForByTheNextStart) {
  server_.add_fault("hang 1000000 0 PUT .*shard-00001");
  {
    Job job(2, command(1000000));
    ASSERT_TRUE(job.until([&] { return server_.count("shard-00001") > 0; })) << job.err();
    job.kill_all();
  }
  EXPECT_THAT(mirrored(), testing::IsEmpty());
  const auto newest = list_checkpoints(folder_ / "run").back();
  const S3Server fresh;  // without the fault, and empty
  setenv("AWS_ENDPOINT_URL", fresh.endpoint().c_str(), 1);
  const auto run = test::mpirun(2, command(static_cast<int>(newest)));
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(mirrored(), testing::Contains(newest));
}

TEST_F(MirrorOfARun, WrongPlacesAreRefusedBeforeTheFirstStep) {
  const auto refused = [&](const std::string& more) {
    const auto run = test::mpirun(2, command(8, more));
    EXPECT_EQ(run.status, 2) << run.err;
    return run.err;
  };
  unsetenv("AWS_SECRET_ACCESS_KEY");
  setenv("HOME", folder_.path().c_str(), 1);
  EXPECT_THAT(refused(""), HasSubstr("checkpoint.mirror: found no credentials"));
}

}  // namespace
}  // namespace trireme
