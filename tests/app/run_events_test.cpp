// log.events of real runs: what goes wrong is told there, and on the page of `trireme report`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "app/report.h"
#include "app/report_alerts.h"
#include "kernels/error.h"
#include "tests/app/job.h"
#include "tests/app/training_support.h"
#include "tests/support/error_of.h"

namespace trireme {
namespace {

using nlohmann::ordered_json;
using test::Layout;
using test::mpirun;
using test::ProcessResult;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class RunEvents : public test::TrainingTest {
 protected:
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  std::string logged() const { return "--log.events=" + at("run/events.jsonl") + " "; }
  std::vector<ordered_json> events() const { return read_json_lines(folder_ / "run/events.jsonl", "events"); }
  /// "begin done", the kinds of the events.
  std::string kinds() const {
    std::string text;
    for (const ordered_json& event : events()) text += (text.empty() ? "" : " ") + event["event"].get<std::string>();
    return text;
  }
  std::string alert(std::size_t number) const { return events().at(number).value("what", "none"); }
};

TEST_F(RunEvents, ARunThatEndsWell) {
  train({2, 1, 1}, 3, "run", logged() + checkpoints("saved"));
  train({1, 1, 1}, 5, "run", logged() + checkpoints("saved"));
  ASSERT_EQ(kinds(), "begin done begin done");
  const auto found = events();
  EXPECT_EQ(found[0]["ranks"], 2);
  EXPECT_EQ(found[2]["step"], 3);
  EXPECT_THAT(found[2]["configuration"].get<std::string>(), HasSubstr("[model]"));
}

TEST_F(RunEvents, DivergenceIsToldOnce) {
  const ProcessResult run =
      mpirun(2, arguments("--train.steps=50 --optimizer.learning_rate=1e30 --log.metrics=" + at("run/metrics.jsonl") +
                          " " + logged()));
  EXPECT_EQ(run.status, 1);
  ASSERT_EQ(kinds(), "begin alert") << "both ranks fail alike: one tells";
  EXPECT_THAT(alert(1), HasSubstr("training has diverged"));
  const std::string page = report_page({.runs = {folder_ / "run"}});
  EXPECT_THAT(page, HasSubstr(R"("event":"alert","what":"step )"));
}

TEST_F(RunEvents, AKilledRankAndADamagedCheckpointAreTold) {
  test::Job job(2, arguments("--train.steps=1000000 --checkpoint.every=5 --log.metrics=" + at("run/metrics.jsonl") +
                             checkpoints("saved") + logged()));
  ASSERT_TRUE(job.until([&] { return std::filesystem::exists(folder_ / "saved/step-00000010"); })) << job.err();
  ASSERT_EQ(kill(job.ranks().at(1), SIGKILL), 0);
  EXPECT_NE(job.wait(), 0);
  ASSERT_THAT(kinds(), AllOf(HasSubstr("begin alert")));
  EXPECT_THAT(alert(1), AllOf(HasSubstr("rank 1"), HasSubstr("has died")));

  std::vector<std::filesystem::path> saved;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "saved"))
    if (!entry.path().has_extension()) saved.push_back(entry.path());
  const auto newest = std::ranges::max(saved);
  std::filesystem::resize_file(newest / "model.h5", 100);
  const std::size_t before = events().size();
  train({1, 1, 1}, 20, "again", "--checkpoint.every=0" + checkpoints("saved") + logged());
  EXPECT_THAT(alert(before), AllOf(HasSubstr(newest.string()), HasSubstr("is damaged")));
  EXPECT_EQ(events()[before + 1]["event"], "begin");
}

TEST_F(RunEvents, ASaveThatFailsIsTold) {
  test::Job job(1, arguments("--train.steps=1000000 --checkpoint.every=5" + checkpoints("saved") + logged()));
  ASSERT_TRUE(job.until([&] { return std::filesystem::exists(folder_ / "saved/step-00000005"); })) << job.err();
  std::filesystem::rename(folder_ / "saved", folder_ / "moved");
  test::write_text(folder_ / "saved", "a file in the folder's place");
  ASSERT_TRUE(job.until([&] { return job.err().find("NOT SAVED") != std::string::npos; })) << job.err();
  std::filesystem::remove(folder_ / "saved");
  std::filesystem::rename(folder_ / "moved", folder_ / "saved");
  ASSERT_EQ(kill(job.ranks().at(0), SIGTERM), 0);
  EXPECT_EQ(job.wait(), 75) << job.err();
  EXPECT_THAT(kinds(), AllOf(StartsWith("begin alert"), EndsWith("stopped")));
  EXPECT_THAT(alert(1), AllOf(HasSubstr("NOT SAVED"), HasSubstr(at("saved"))));
}

TEST_F(RunEvents, AFileThatCannotBeWrittenIsWarnedOfOnceAndTheRunGoesOn) {
  test::write_text(folder_ / "file", "");
  for (const std::string& where : {at("file/events.jsonl"), std::string("/dev/full")}) {
    const ProcessResult run = mpirun(2, arguments("--train.steps=3 --log.events=" + where));
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_THAT(run.err, HasSubstr("NOT WRITTEN log.events=" + where));
    EXPECT_EQ(run.err.find("NOT WRITTEN"), run.err.rfind("NOT WRITTEN")) << run.err;
  }
}

/// A run of 10 steps of a second from time 1000, which goes on at step 5 at time 2000, and validates in between.
class ReportedAlerts : public RunEvents {
 protected:
  ReportedAlerts() {
    std::string metrics;
    for (int step = 1; step <= 10; ++step)
      metrics += ordered_json{{"step", step}, {"loss", 1.0 / step}, {"step_seconds", 1.0}}.dump() + "\n";
    std::filesystem::create_directories(folder_ / "run");
    test::write_text(folder_ / "run/metrics.jsonl", metrics);
    test::write_text(folder_ / "run/events.jsonl",
                     R"({"event":"begin","layout":"a","ranks":1,"device":"cpu","job":"7","step":0,"time":1000}
{"event":"alert","what":"rank 1 has died","time":1007.5}
{"event":"begin","layout":"a","ranks":1,"device":"cpu","job":"7","step":5,"time":2000}
{"event":"done","step":10,"time":2010}
)");
  }
  std::string page_with(const std::string& alerts) {
    test::write_text(folder_ / "alerts.jsonl", alerts);
    return report_page({.runs = {folder_ / "run"}, .alerts = {folder_ / "alerts.jsonl"}});
  }
};

TEST_F(ReportedAlerts, TimesBecomeSteps) {
  const StepTimes times(read_json_lines(folder_ / "run/metrics.jsonl", ""),
                        read_json_lines(folder_ / "run/events.jsonl", ""));
  EXPECT_FALSE(times.step_at(999));
  EXPECT_EQ(times.step_at(1003.5), 3);
  EXPECT_EQ(times.step_at(1500), 5) << "nothing is known of what was lost";
  EXPECT_EQ(times.step_at(2005), 7) << "five steps took ten seconds, validations included";
  EXPECT_EQ(times.step_at(2010), 10);
  EXPECT_FALSE(times.step_at(2011)) << "the run has ended";
}

TEST_F(ReportedAlerts, MessagesOfAlertmanagerLieOverTheCurves) {
  const std::string page = page_with(
      R"({"version":"4","alerts":[{"status":"firing","labels":{"alertname":"Slow","run":"7"},"annotations":{"summary":"it is slow"},"startsAt":"1970-01-01T00:16:43.5Z","endsAt":"0001-01-01T00:00:00Z"}]}
{"version":"4","alerts":[{"status":"resolved","labels":{"alertname":"Slow","run":"7"},"annotations":{"summary":"it is slow"},"startsAt":"1970-01-01T00:16:43.5Z","endsAt":"1970-01-01T08:33:25+08:00"},{"status":"firing","labels":{"alertname":"Other","run":"8"},"annotations":{},"startsAt":"1970-01-01T00:16:44Z"},{"status":"firing","labels":{"alertname":"Late","run":"7"},"annotations":{},"startsAt":"1970-01-01T01:00:00Z"}]}
)");
  EXPECT_THAT(page,
              HasSubstr(R"({"event":"alert","name":"Slow","what":"it is slow","step":3,"time":1003.5,"end_step":7,)"
                        R"("end_time":2005.0})"));
  EXPECT_EQ(page.find("it is slow"), page.rfind("it is slow")) << "told once";
  EXPECT_EQ(page.find("Other"), std::string::npos) << "another run's";
  EXPECT_EQ(page.find("Late"), std::string::npos) << "after its end";
  EXPECT_THAT(page, HasSubstr(R"("what":"rank 1 has died","time":1007.5,"step":5})")) << "its own, put at a step";
}

TEST_F(ReportedAlerts, IdleReleaseIsShown) {
  const std::string page = page_with(
      R"({"time": 2002.0, "action": "warned", "job": "7", "life": 1, "gpus": 4, "user": "ann", "nodes": "n1"}
{"time": 2008.0, "action": "released", "job": "7", "life": 1, "gpus": 4, "user": "ann", "nodes": "n1"}
{"time": 2008.0, "action": "released", "job": "8", "life": 1, "gpus": 4, "user": "bob", "nodes": "n1"}
)");
  EXPECT_THAT(page, HasSubstr("all 4 GPUs idle: its users were warned"));
  EXPECT_THAT(page, HasSubstr("4 GPUs given back"));
  EXPECT_EQ(page.find("4 GPUs given back"), page.rfind("4 GPUs given back"));
}

TEST_F(ReportedAlerts, OtherFilesAreRefused) {
  for (const std::string text : {"[]\n", "{}\n{}\n", "{\"alerts\":[{}]}\n", "{\"alerts\":7}\n", "{\"action\":3}\n",
                                 "{\"alerts\":[{\"startsAt\":\"yesterday\"}]}\n"}) {
    const Error error = error_of([&] { page_with(text); });
    EXPECT_EQ(error.status(), ExitStatus::invalid_input) << text;
    EXPECT_THAT(error.what(), AllOf(HasSubstr("alerts.jsonl:1"), HasSubstr("Alertmanager"))) << text;
  }
  for (const std::string text : {"{\"event\":\"begin\"}\n", "{\"event\":\"alert\"}\n", "{\"step\":1}\n",
                                 "{\"event\":\"alert\",\"time\":\"now\",\"step\":1}\n"}) {
    test::write_text(folder_ / "run/events.jsonl", text);
    const Error error = error_of([&] { page_with(""); });
    EXPECT_EQ(error.status(), ExitStatus::invalid_input) << text;
    EXPECT_THAT(error.what(), HasSubstr("events.jsonl:1")) << text;
  }
}

}  // namespace
}  // namespace trireme
