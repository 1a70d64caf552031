// The endpoint of whole runs: what it tells, when it is well and ready, and that it never makes a run fail silently.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/app/http.h"
#include "tests/app/job.h"
#include "tests/app/training_support.h"

namespace trireme {
namespace {

using test::http;
using test::Job;
using test::wait_until;
using testing::HasSubstr;
using testing::Not;

class MonitorRun : public test::TrainingTest {
 protected:
  static std::string endless(const std::string& more) {
    return arguments("--log.progress=plain --train.steps=100000000 --monitor.listen=0 " + more);
  }
  /// Of the endpoint that the job tells of; 0 where it ends before.
  static int port_of(Job& job) {
    const std::string words = "http://127.0.0.1:";
    if (!job.until([&] { return job.said("/metrics"); })) return 0;
    const std::string said = job.err();
    return std::atoi(said.c_str() + said.find(words) + words.size());
  }
  /// The value of a series; nothing where it is not told.
  static std::optional<double> value_of(const std::string& text, const std::string& series) {
    const auto at = ("\n" + text).find("\n" + series + " ");
    if (at == std::string::npos) return {};
    return std::atof(text.c_str() + at + series.size());
  }
  static std::optional<double> value(int port, const std::string& series) {
    return value_of(http(port, "/metrics").body, series);
  }
};

TEST_F(MonitorRun, OneRankTellsOfAllRanksOfTheHost) {
  const std::filesystem::path stub(test::nvml_stub());
  Job job(2, endless("--parallel.pipeline=2 --checkpoint.every=20 --monitor.peak_flops=1e11" + checkpoints("saved")),
          "LD_LIBRARY_PATH=" + stub.parent_path().string() + " CUDA_VISIBLE_DEVICES=0,1");
  const int port = port_of(job);
  ASSERT_GT(port, 0) << job.err();
  ASSERT_TRUE(job.until([&] { return http(port, "/readyz").status == 200; })) << job.err();
  EXPECT_EQ(http(port, "/healthz").status, 200);
  ASSERT_TRUE(job.until([&] { return value(port, "trireme_checkpoints_total").value_or(0) >= 1; }));
  const std::string text = http(port, "/metrics").body;
  for (const char* series :
       {"trireme_rank_steps_total{rank=\"0\",stage=\"0\"}", "trireme_rank_steps_total{rank=\"1\",stage=\"1\"}",
        "trireme_rank_resident_memory_bytes{rank=\"1\",stage=\"1\"}", "trireme_step_duration_seconds_count",
        "trireme_rank_compute_seconds_total{rank=\"1\",stage=\"1\"}", "trireme_pipeline_bubble_ratio", "trireme_loss",
        "trireme_gradient_norm", "trireme_checkpoint_size_bytes", "trireme_checkpoint_duration_seconds",
        "trireme_checkpoint_age_seconds", "trireme_model_flop_utilization_ratio", "trireme_host_memory_bytes",
        "trireme_checkpoint_filesystem_available_bytes"})
    EXPECT_GT(value_of(text, series).value_or(-1), 0) << series << " in\n" << text;
  const double steps = value_of(text, "trireme_steps_total").value_or(0);
  EXPECT_EQ(value_of(text, "trireme_samples_total"), 8 * steps);
  EXPECT_EQ(value_of(text, "trireme_tokens_total"), 8 * 16 * steps);
  EXPECT_EQ(value_of(text, "trireme_checkpoint_failures_total"), 0);

  EXPECT_EQ(value_of(text, "trireme_gpu_utilization_ratio{gpu=\"0\",uuid=\"GPU-000\"}"), 0.87);
  EXPECT_EQ(value_of(text, "trireme_gpu_utilization_ratio{gpu=\"1\",uuid=\"GPU-111\"}"), 0.03);
  EXPECT_EQ(value_of(text, "trireme_gpu_memory_used_bytes{gpu=\"0\",uuid=\"GPU-000\"}"), 50.0 * (1 << 30));
  EXPECT_EQ(value_of(text, "trireme_gpu_power_watts{gpu=\"0\",uuid=\"GPU-000\"}"), 612.5);
  EXPECT_EQ(value_of(text, "trireme_gpu_power_watts{gpu=\"1\",uuid=\"GPU-111\"}"), std::nullopt);
  EXPECT_EQ(value_of(text, "trireme_gpu_temperature_celsius{gpu=\"1\",uuid=\"GPU-111\"}"), 61);

  job.signal(1, SIGTERM);
  EXPECT_EQ(job.wait(), 75) << job.err();
}

/// A rank stands still. The one that serves is stopped for a while too, as in that time its watchdog does not count.
TEST_F(MonitorRun, IsNotHealthyWhileNoStepEnds) {
  Job job(2, endless("--train.watchdog=4"));
  const int port = port_of(job);
  ASSERT_TRUE(job.until([&] { return http(port, "/readyz").status == 200; })) << job.err();
  EXPECT_EQ(http(port, "/healthz").status, 200);
  job.signal(1, SIGSTOP);
  job.signal(0, SIGSTOP);
  const auto stopped = std::chrono::steady_clock::now();
  wait_until([&] { return std::chrono::steady_clock::now() - stopped > std::chrono::milliseconds(4200); });
  job.signal(0, SIGCONT);
  EXPECT_TRUE(wait_until([&] { return http(port, "/healthz").status == 503; }, std::chrono::seconds(2)));
  job.signal(1, SIGCONT);
  EXPECT_TRUE(wait_until([&] { return http(port, "/healthz").status == 200; }, std::chrono::seconds(10))) << job.err();
}

TEST_F(MonitorRun, WithoutAGpuThereAreNoGpuFigures) {
  Job job(1, endless(""), "CUDA_VISIBLE_DEVICES=");
  const int port = port_of(job);
  ASSERT_TRUE(job.until([&] { return http(port, "/readyz").status == 200; })) << job.err();
  const std::string text = http(port, "/metrics").body;
  EXPECT_THAT(text, HasSubstr("trireme_loss "));
  EXPECT_THAT(text, Not(HasSubstr("gpu")));
  EXPECT_THAT(text, Not(HasSubstr("utilization")));  // what the CPU could do is not known
  EXPECT_THAT(text, Not(HasSubstr("trireme_checkpoint")));
}

TEST_F(MonitorRun, ALossThatIsNotFiniteIsToldBeforeTheRunEnds) {
  Job job(2, endless("--optimizer.learning_rate=1e30 --optimizer.warmup_steps=0"));
  const int port = port_of(job);
  double told = 0;
  job.until([&] {
    told = std::max(told, value(port, "trireme_nonfinite_steps_total").value_or(0));
    return told > 0;
  });
  EXPECT_EQ(told, 1) << job.err();
  EXPECT_EQ(job.wait(), 1);
  EXPECT_THAT(job.err(), HasSubstr("training has diverged"));
}

TEST_F(MonitorRun, APortThatIsTakenFailsAtOnce) {
  Job first(1, endless(""));
  const int port = port_of(first);
  const auto second = test::mpirun(2, arguments("--train.steps=1 --monitor.listen=" + std::to_string(port)));
  EXPECT_EQ(second.status, 1);
  EXPECT_THAT(second.err, HasSubstr("monitor.listen: 127.0.0.1:" + std::to_string(port) + " cannot be listened on"));
}

TEST_F(MonitorRun, AnAddressThatIsNoneIsWrongInput) {
  const auto run = test::run_trireme(arguments("--monitor.listen=node7:9400"));
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.err, HasSubstr("monitor.listen"));
  EXPECT_THAT(run.err, HasSubstr("PORT or ADDRESS:PORT"));
}

}  // namespace
}  // namespace trireme
