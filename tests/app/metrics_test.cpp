#include "app/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/error.h"
#include "tests/app/support.h"

namespace trireme {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

StepMetrics metrics_of(std::int64_t step, double loss = 1.0) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.loss = loss;
  return metrics;
}

class MetricsFile : public ::testing::Test {
 protected:
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> found;
    std::istringstream lines(test::read_text(file_));
    for (std::string line; std::getline(lines, line);) found.push_back(nlohmann::json::parse(line).at("step"));
    return found;
  }
  void write_steps(std::int64_t last_step, std::int64_t first, std::int64_t end) {
    MetricsLog log(file_, last_step);
    for (std::int64_t step = first; step < end; ++step) log.write(metrics_of(step));
  }
  std::string refusal() {
    try {
      MetricsLog(file_, 100);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input);
      return error.what();
    }
    return "nothing was refused";
  }

  test::TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "metrics.jsonl";
};

TEST(MetricsJson, HasEveryKeyInOrderAndExactNumbers) {
  StepMetrics metrics{.step = 12,
                      .loss = 0.1 + 0.2,
                      .grad_norm = 1.0 / 3,
                      .learning_rate = 6e-4,
                      .samples = std::numeric_limits<std::int64_t>::max(),
                      .tokens = 4096,
                      .step_seconds = 5e-324,
                      .per_second = 1.7976931348623157e308,
                      .data_wait_seconds = 0,
                      .checkpoint_stall_seconds = std::nextafter(2.0, 3.0),
                      .validation = {}};
  const auto object = nlohmann::ordered_json::parse(to_json(metrics));
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  EXPECT_THAT(keys, ElementsAre("step", "loss", "grad_norm", "learning_rate", "samples", "tokens", "step_seconds",
                                "tokens_per_second", "data_wait_seconds", "checkpoint_stall_seconds"));
  EXPECT_EQ(object["step"].get<std::int64_t>(), metrics.step);
  EXPECT_EQ(object["loss"].get<double>(), metrics.loss);
  EXPECT_EQ(object["grad_norm"].get<double>(), metrics.grad_norm);
  EXPECT_EQ(object["samples"].get<std::int64_t>(), metrics.samples);
  EXPECT_EQ(object["step_seconds"].get<double>(), metrics.step_seconds);
  EXPECT_EQ(object["tokens_per_second"].get<double>(), metrics.per_second);
  EXPECT_EQ(object["checkpoint_stall_seconds"].get<double>(), metrics.checkpoint_stall_seconds);
  EXPECT_THAT(to_json(metrics), HasSubstr("\"learning_rate\":0.0006,"));

  metrics.validation = {{"loss", 2.5}, {"accuracy", 0.75}};
  EXPECT_EQ(nlohmann::json::parse(to_json(metrics))["validation_loss"].get<double>(), 2.5);
  EXPECT_EQ(nlohmann::json::parse(to_json(metrics))["validation_accuracy"].get<double>(), 0.75);
}

TEST(MetricsJson, WritesNullForWhatJsonCannotHold) {
  EXPECT_TRUE(nlohmann::json::parse(to_json(metrics_of(1, std::nan(""))))["loss"].is_null());
  EXPECT_TRUE(nlohmann::json::parse(to_json(metrics_of(1, INFINITY)))["loss"].is_null());
}

TEST_F(MetricsFile, EachLineIsThereWhenWriteReturns) {
  MetricsLog log(file_, 0);
  log.write(metrics_of(1));
  EXPECT_THAT(steps(), ElementsAre(1));
  log.write(metrics_of(2));
  EXPECT_THAT(steps(), ElementsAre(1, 2));
}

TEST_F(MetricsFile, ResumeDropsLaterStepsAndGoesOn) {
  write_steps(0, 1, 8);
  const std::string before = test::read_text(file_);
  write_steps(5, 6, 10);
  EXPECT_THAT(steps(), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_EQ(test::read_text(file_).substr(0, before.size()), before);
}

TEST_F(MetricsFile, ANewRunStartsTheFileAnew) {
  write_steps(0, 1, 4);
  write_steps(0, 1, 2);
  EXPECT_THAT(steps(), ElementsAre(1));
}

TEST_F(MetricsFile, TellsItsLastStep) {
  EXPECT_EQ(last_step_in(file_), 0);
  test::write_text(file_, "");
  EXPECT_EQ(last_step_in(file_), 0);
  test::write_text(file_, "my notes\n");
  EXPECT_EQ(last_step_in(file_), 0);
  test::write_text(file_, "");
  write_steps(0, 1, 4);
  EXPECT_EQ(last_step_in(file_), 3);
  test::write_text(file_, test::read_text(file_) + "{\"step\":4,\"lo");
  EXPECT_EQ(last_step_in(file_), 3);
  EXPECT_EQ(last_step_in("/dev/null"), 0);
}

TEST_F(MetricsFile, ResumeWithNothingToDropLeavesTheFileItself) {
  write_steps(0, 1, 4);
  std::filesystem::create_hard_link(file_, folder_ / "same");
  write_steps(3, 4, 5);
  EXPECT_EQ(test::read_text(folder_ / "same"), test::read_text(file_));
}

TEST_F(MetricsFile, ALastLineCutByACrashIsDropped) {
  for (const std::string cut : {"{\"step\":3,\"lo", "{\"step\":3,\"loss\":1.2", "\n", "{\"step\":3}garbage\n"}) {
    test::write_text(file_, to_json(metrics_of(1)) + "\n" + to_json(metrics_of(2)) + "\n" + cut);
    write_steps(3, 4, 5);
    EXPECT_THAT(steps(), ElementsAre(1, 2, 4)) << cut;
  }
}

TEST_F(MetricsFile, ALastLineThatOnlyLacksItsEndIsKept) {
  test::write_text(file_, to_json(metrics_of(1)) + "\n" + to_json(metrics_of(2)));
  write_steps(2, 3, 4);
  EXPECT_THAT(steps(), ElementsAre(1, 2, 3));
}

TEST_F(MetricsFile, RefusesAFileOfAnotherKindAndLeavesItAlone) {
  const std::string notes = "my notes\nof yesterday\n";
  test::write_text(file_, notes);
  EXPECT_THAT(refusal(), HasSubstr("metrics.jsonl:1: found 'my notes', expected a JSON object with a step"));
  EXPECT_EQ(test::read_text(file_), notes);
}

TEST_F(MetricsFile, AFailedRewriteLosesNothing) {
  write_steps(0, 1, 4);
  const std::string before = test::read_text(file_);
  std::filesystem::create_directory(folder_ / "metrics.jsonl.partial");  // the temporary file cannot be made
  EXPECT_THROW(MetricsLog(file_, 1), Error);
  EXPECT_EQ(test::read_text(file_), before);
}

TEST_F(MetricsFile, KeepsALinkAndMakesMissingFolders) {
  write_steps(0, 1, 4);
  std::filesystem::create_symlink(file_, folder_ / "link");
  { MetricsLog log(folder_ / "link", 2); }
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link"));
  EXPECT_THAT(steps(), ElementsAre(1, 2));
  { MetricsLog log(folder_.path() / "a" / "b" / "m.jsonl", 0); }
  EXPECT_TRUE(std::filesystem::is_regular_file(folder_.path() / "a" / "b" / "m.jsonl"));
}

TEST_F(MetricsFile, WritesToADeviceAndRefusesAFolder) {
  file_ = "/dev/null";
  EXPECT_NO_THROW(write_steps(3, 4, 5));
  file_ = folder_.path();
  EXPECT_THAT(refusal(), HasSubstr("cannot be written"));
}

TEST_F(MetricsFile, LinesWaitWhileTheDiskIsFull) {
  MetricsLog log(file_, 0);
  log.write(metrics_of(1));
  log.sync();
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit little{std::filesystem::file_size(file_) + 10, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &little);
  log.write(metrics_of(2));
  log.write(metrics_of(3));
  EXPECT_TRUE(log.waiting());
  EXPECT_THROW(log.sync(), Error);
  setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_TRUE(log.waiting());
  log.write(metrics_of(4));
  EXPECT_FALSE(log.waiting());
  log.sync();
  EXPECT_THAT(steps(), ElementsAre(1, 2, 3, 4));
}

TEST_F(MetricsFile, FailsToFlushToAFullDisk) {
  MetricsLog log("/dev/full", 0);
  log.write(metrics_of(1));
  EXPECT_TRUE(log.waiting());
  EXPECT_THROW(log.sync(), Error);
}

}  // namespace
}  // namespace trireme
