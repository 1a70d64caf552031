#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <thread>

#include "app/monitor/exposition.h"
#include "app/monitor/server.h"
#include "kernels/error.h"
#include "tests/app/http.h"
#include "tests/app/support.h"
#include "tests/support/error_of.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// Two ranks of a pipeline that began at second 100.
class Exposition : public ::testing::Test {
 protected:
  Exposition() {
    for (int rank = 0; rank < 2; ++rank) {
      boards_[rank].process = getpid();
      boards_[rank].rank = 6 + rank;
      boards_[rank].stage = rank;
      boards_[rank].alive.set(100);
    }
  }
  void step(int rank, double seconds, double compute, double wait, double now) {
    boards_[rank].add(
        {.seconds = seconds, .data_wait_seconds = 0.25, .compute_seconds = compute, .pipeline_wait_seconds = wait},
        now);
  }
  HostFigures figures(double now) const { return {.now = now, .ranks = {boards_.get(), 2}}; }
  std::string told(double now = 110) const { return exposition(figures(now)); }

  const std::unique_ptr<RankBoard[]> boards_{new RankBoard[2]{}};
};

TEST_F(Exposition, StepTimesOfAllRanksAreOneHistogram) {
  step(0, 0.3, 0.2, 0, 101);
  step(0, 0.5, 0.2, 0, 102);
  step(1, 200, 0.2, 0, 103);
  const std::string text = told();
  EXPECT_THAT(text, HasSubstr("trireme_step_duration_seconds_bucket{le=\"0.25\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("trireme_step_duration_seconds_bucket{le=\"0.5\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("trireme_step_duration_seconds_bucket{le=\"120\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("trireme_step_duration_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("trireme_step_duration_seconds_count 3\n"));
  EXPECT_THAT(text, HasSubstr("trireme_step_duration_seconds_sum 200.8"));
}

TEST_F(Exposition, RanksAreComparedByTheirOwnWork) {
  step(0, 2, 1.25, 0.5, 101);
  step(1, 2, 0.75, 1.0, 101);
  const std::string text = told();
  EXPECT_THAT(text, HasSubstr("trireme_rank_compute_seconds_total{rank=\"6\",stage=\"0\"} 1.25\n"));
  EXPECT_THAT(text, HasSubstr("trireme_rank_pipeline_wait_seconds_total{rank=\"7\",stage=\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("trireme_data_wait_seconds_total{rank=\"7\",stage=\"1\"} 0.25\n"));
  EXPECT_THAT(text, HasSubstr("trireme_slowest_rank 6\n"));
  EXPECT_THAT(text, HasSubstr("trireme_slowest_rank_step_work_seconds 1.5\n"));
  EXPECT_THAT(text, HasSubstr("trireme_pipeline_bubble_ratio 0.375\n"));  // 1.5 of 1.5 + 1 + 1.5
  for (int i = 0; i < 50; ++i) step(1, 2, 3, 0, 102);
  EXPECT_THAT(told(), HasSubstr("trireme_slowest_rank 7\n"));
}

TEST_F(Exposition, WhatIsNotMeasuredIsLeftOut) {
  step(0, 1, 0.5, 0, 101);
  const std::string text = told();
  EXPECT_THAT(text, HasSubstr("trireme_rank_steps_total{rank=\"6\",stage=\"0\"} 1\n"));
  for (const char* absent : {"bubble", "gpu", "host_memory", "checkpoint", "loss", "watchdog"})
    EXPECT_THAT(text, Not(HasSubstr(absent)));
}

TEST_F(Exposition, TheRankFurthestBehindTellsTheAge) {
  step(0, 1, 1, 0, 109);
  EXPECT_THAT(told(110), HasSubstr("trireme_step_age_seconds 10\n"));
  EXPECT_FALSE(all_stepped({boards_.get(), 2}));
  step(1, 1, 1, 0, 106);
  EXPECT_THAT(told(110), HasSubstr("trireme_step_age_seconds 4\n"));
  EXPECT_TRUE(all_stepped({boards_.get(), 2}));
}

TEST_F(Exposition, FiguresOfTheRun) {
  HostFigures host = figures(110);
  RunFigures& run = host.run.emplace();
  run.facts = {.arch = "gpt", .layout = "data 2", .device = "cpu", .precision = "fp32", .flops_per_step = 1e9};
  EXPECT_THAT(exposition(host), Not(HasSubstr("trireme_loss")));  // before the first step
  run.steps = 3;
  run.samples = 24;
  run.last = {.step = 10, .loss = std::numeric_limits<double>::quiet_NaN(), .grad_norm = 2, .step_seconds = 0.5};
  run.validation = {{"loss", 1.5}, {"accuracy", 0.25}};
  std::string text = exposition(host);
  EXPECT_THAT(text, HasSubstr("trireme_steps_total 3\n"));
  EXPECT_THAT(text, HasSubstr("trireme_step 10\n"));
  EXPECT_THAT(text, HasSubstr("trireme_loss Nan\n"));
  EXPECT_THAT(text, HasSubstr("trireme_validation{metric=\"accuracy\"} 0.25\n"));
  EXPECT_THAT(text, Not(HasSubstr("trireme_tokens_total")));
  EXPECT_THAT(text, Not(HasSubstr("utilization")));
  EXPECT_THAT(text, Not(HasSubstr("trireme_checkpoint")));
  run.facts.flops_a_second = 8e9;
  run.saved_at = 60;
  run.saves.emplace();
  text = exposition(host);
  EXPECT_THAT(text, HasSubstr("trireme_model_flop_utilization_ratio 0.25\n"));
  EXPECT_THAT(text, HasSubstr("trireme_checkpoint_age_seconds 50\n"));
  EXPECT_THAT(text, Not(HasSubstr("trireme_checkpoint_size_bytes")));  // none yet
  run.saves = {.saved = 2, .failed = 1, .seconds = 4, .folder = "x"};
  run.checkpoint_bytes = 1000;
  text = exposition(host);
  EXPECT_THAT(text, HasSubstr("trireme_checkpoint_size_bytes 1000\n"));
  EXPECT_THAT(text, HasSubstr("trireme_checkpoint_failures_total 1\n"));
  EXPECT_THAT(text, HasSubstr("trireme_checkpoint_duration_seconds 4\n"));
}

TEST(Gpus, OnlyThoseThatTheRanksMayUse) {
  EXPECT_TRUE(is_visible("0,2", "2", "GPU-abc"));
  EXPECT_FALSE(is_visible("0,2", "1", "GPU-abc"));
  EXPECT_TRUE(is_visible("GPU-ab", "1", "GPU-abc"));
  EXPECT_FALSE(is_visible("", "0", "GPU-abc"));
  EXPECT_FALSE(is_visible("12", "1", "GPU-abc"));
}

TEST(Gpus, PeakByName) {
  EXPECT_EQ(peak_bf16_flops("NVIDIA H100 80GB HBM3"), 989e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA H100 PCIe"), 756e12);
  EXPECT_EQ(peak_bf16_flops("NVIDIA L40S"), 362e12);
  EXPECT_EQ(peak_bf16_flops("something new"), std::nullopt);
}

TEST(Host, MemoryAndRoom) {
  const auto memory = host_memory();
  ASSERT_TRUE(memory);
  EXPECT_GT(memory->available_bytes, 0);
  EXPECT_LE(memory->available_bytes, memory->bytes);
  EXPECT_GT(resident_bytes(getpid()), 1e6);
  EXPECT_EQ(resident_bytes(0x7fffffff), 0);
  const test::TemporaryFolder folder;
  const auto room = room_at(folder / "not/there/yet");
  ASSERT_TRUE(room);
  EXPECT_LE(room->available_bytes, room->bytes);
  test::write_text(folder / "a", "12345");
  test::write_text(folder / "b", "678");
  EXPECT_EQ(bytes_in(folder.path()), 8);
  EXPECT_EQ(bytes_in(folder / "none"), std::nullopt);
}

TEST(Address, IsAPortOrAnAddressWithOne) {
  ListenAddress address;
  ASSERT_TRUE(read_address("9400", address));
  EXPECT_EQ(address.host, "127.0.0.1");
  EXPECT_EQ(address.port, 9400);
  ASSERT_TRUE(read_address("0.0.0.0:1", address));
  EXPECT_EQ(address.host, "0.0.0.0");
  ASSERT_TRUE(read_address("[::1]:9400", address));
  EXPECT_EQ(address.host, "[::1]");
  for (const char* wrong : {"", "x", "70000", "-1", "9400x", "host:9400", "::1:9400", ":9400", "1.2.3:9400", "9400s",
                            "127.0.0.1:9400,0.0.0.0:80"})
    EXPECT_FALSE(read_address(wrong, address)) << wrong;
}

TEST(Server, AnswersWholePathsOnItsPort) {
  const HttpServer server({}, {{"/page",
                                [] {
                                  return Answer{503, "a page\n", {}};
                                }},
                               {"/broken", []() -> Answer { fail("it broke"); }}});
  EXPECT_EQ(test::http(server.port(), "/page").status, 503);
  EXPECT_EQ(test::http(server.port(), "/page").body, "a page\n");
  EXPECT_EQ(test::http(server.port(), "/page", "HEAD").body, "");
  EXPECT_EQ(test::http(server.port(), "/page", "POST").status, 405);
  EXPECT_EQ(test::http(server.port(), "/broken").status, 500);
  for (const char* other : {"/", "/page/", "/page/x", "/pages", "/../etc/passwd", "/etc/passwd"})
    EXPECT_EQ(test::http(server.port(), other).status, 404) << other;

  ListenAddress same;
  same.port = server.port();
  const Error error = error_of([&] { const HttpServer second(same, {}); });
  EXPECT_THAT(error.what(), HasSubstr("monitor.listen: 127.0.0.1:" + std::to_string(server.port())));
}

}  // namespace
}  // namespace trireme
