#include "app/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

StepMetrics metrics_of(std::int64_t step) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.loss = 3.21;
  metrics.grad_norm = 1.02;
  metrics.learning_rate = 6e-4;
  metrics.tokens = 1000;
  metrics.step_seconds = 2.0;
  metrics.data_wait_seconds = 0.02;
  metrics.per_second = 12345;
  return metrics;
}

LogOptions options_of(ProgressKind kind, int every = 10) {
  LogOptions options;
  options.progress = kind;
  options.every = every;
  return options;
}

std::string shown(ProgressKind kind, bool is_terminal, int steps = 25) {
  std::ostringstream out;
  {
    Progress progress(options_of(kind), steps, out, is_terminal);
    for (int step = 1; step <= steps; ++step) progress.step(metrics_of(step));
  }
  return out.str();
}

std::int64_t lines_of(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(Durations, AreShort) {
  EXPECT_EQ(format_duration(0), "0s");
  EXPECT_EQ(format_duration(59.4), "59s");
  EXPECT_EQ(format_duration(59.6), "1m00s");
  EXPECT_EQ(format_duration(185), "3m05s");
  EXPECT_EQ(format_duration(3599.6), "1h00m");
  EXPECT_EQ(format_duration(3720), "1h02m");
  EXPECT_EQ(format_duration(2 * 86400 + 3 * 3600), "2d03h");
  EXPECT_EQ(format_duration(-1), "-");
  EXPECT_EQ(format_duration(std::nan("")), "-");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "-");
}

TEST(Counts, HaveThreeDigits) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(999.7), "1.00k");
  EXPECT_EQ(format_count(12345), "12.3k");
  EXPECT_EQ(format_count(99960), "100k");
  EXPECT_EQ(format_count(4.56e6), "4.56M");
  EXPECT_EQ(format_count(7e18), "7000P");
}

TEST(StepClock, StartsAsTheMeanAndForgetsOldSteps) {
  StepClock clock;
  EXPECT_LT(clock.seconds(), 0);
  clock.add(1);
  EXPECT_DOUBLE_EQ(clock.seconds(), 1);
  clock.add(3);
  EXPECT_DOUBLE_EQ(clock.seconds(), 2);
  for (int i = 0; i < 200; ++i) clock.add(10);
  EXPECT_NEAR(clock.seconds(), 10, 1e-6);
  clock.add(20);
  EXPECT_NEAR(clock.seconds(), 11, 1e-6);
}

TEST(PlainLine, TellsAllFigures) {
  EXPECT_EQ(format_plain(metrics_of(20), 100, 3720),
            "step 20/100  loss 3.2100  lr 0.0006  grad 1.02  12.3k tokens/s  data wait 1%  ETA 1h02m");
}

TEST(Bar, GrowsWithTheRunAndFitsTheLine) {
  const std::string half = format_bar(metrics_of(50), 100, 60, 140);
  EXPECT_THAT(half, AllOf(StartsWith("50/100  50% ["), HasSubstr("loss 3.2100"), EndsWith("ETA 1m00s")));
  EXPECT_EQ(std::count(half.begin(), half.end(), '='), 20);
  const std::string full = format_bar(metrics_of(100), 100, 0, 140);
  EXPECT_EQ(std::count(full.begin(), full.end(), '='), 40);
  EXPECT_THAT(format_bar(metrics_of(999), 1000, 0, 140), HasSubstr(" 99% "));
  EXPECT_THAT(format_bar(metrics_of(1000), 1000, 3720, 79), AllOf(HasSubstr("[====="), EndsWith("ETA 1h02m")));
  for (int columns = 0; columns < 150; ++columns)
    EXPECT_LE(format_bar(metrics_of(50), 100, 60, columns).size(), static_cast<std::size_t>(columns));
  EXPECT_THAT(format_bar(metrics_of(50), 100, 60, 50), AllOf(Not(HasSubstr("[")), HasSubstr("loss 3.2100")));
}

TEST(Progress, PlainShowsTheFirstEveryTenthAndTheLastStep) {
  const std::string text = shown(ProgressKind::plain, true);
  EXPECT_EQ(lines_of(text), 4);
  EXPECT_THAT(text, AllOf(StartsWith("step 1/25"), HasSubstr("\nstep 10/25"), HasSubstr("\nstep 20/25"),
                          HasSubstr("\nstep 25/25"), HasSubstr("ETA 30s"), Not(HasSubstr("\r"))));
}

TEST(Progress, BarRedrawsOneLineAndEndsIt) {
  const std::string text = shown(ProgressKind::bar, false);
  EXPECT_EQ(lines_of(text), 1);
  EXPECT_THAT(text, AllOf(StartsWith("\r"), EndsWith("\n")));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\r'), 25);
}

TEST(Progress, AutomaticAsksTheTerminal) {
  EXPECT_EQ(shown(ProgressKind::automatic, true), shown(ProgressKind::bar, true));
  EXPECT_EQ(shown(ProgressKind::automatic, false), shown(ProgressKind::plain, false));
}

TEST(Progress, NoneIsSilent) {
  std::ostringstream out;
  {
    Progress progress(options_of(ProgressKind::none), 10, out, true);
    progress.step(metrics_of(10));
    progress.note("validation loss 3.1");
  }
  EXPECT_THAT(out.str(), IsEmpty());
}

TEST(Progress, NotesStandAboveTheBar) {
  std::ostringstream out;
  Progress progress(options_of(ProgressKind::bar), 10, out, true);
  progress.note("resumed from step 4");
  EXPECT_EQ(out.str(), "resumed from step 4\n");
  progress.step(metrics_of(5));
  out.str("");
  progress.note("validation loss 3.1");
  EXPECT_THAT(out.str(),
              AllOf(StartsWith("\r"), HasSubstr("validation loss 3.1\n"), HasSubstr("5/10  50%"), Not(EndsWith("\n"))));
}

}  // namespace
}  // namespace trireme
