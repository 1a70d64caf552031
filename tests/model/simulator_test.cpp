#include "model/pipeline/simulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"

namespace trireme {
namespace {

class SimulateEverySchedule : public testing::TestWithParam<ScheduleKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, SimulateEverySchedule, testing::Values(ScheduleKind::gpipe, ScheduleKind::one_f_one_b),
                         [](const auto& tested) {
                           return tested.param == ScheduleKind::gpipe ? "gpipe" : "one_f_one_b";
                         });

// Equal stages and free messages: the bubble is the filling and draining of the pipeline, (p - 1) / (m + p - 1) of the
// time when the backward pass is one piece (Huang et al. 2019). When weight gradients are a piece of their own, nobody
// waits for them.
TEST_P(SimulateEverySchedule, BubbleIsTheTextbooks) {
  for (const StageTimes& times :
       {StageTimes{1, 2, 0, 0}, StageTimes{1, 1, 0, 0}, StageTimes{1, 1, 1, 0}, StageTimes{3, 2, 4, 0}}) {
    for (int stages = 1; stages <= 8; ++stages) {
      for (int microbatches = 1; microbatches <= 16; ++microbatches) {
        SCOPED_TRACE(testing::Message() << stages << " stages, " << microbatches << " microbatches");
        const auto result = simulate(make_schedule(GetParam(), stages, microbatches),
                                     std::vector<StageTimes>(static_cast<std::size_t>(stages), times));
        const double work = microbatches * (times.forward + times.backward_input + times.backward_weight);
        const double idle = (stages - 1) * (times.forward + times.backward_input);
        EXPECT_DOUBLE_EQ(result.seconds, work + idle);
        EXPECT_NEAR(result.bubble_share, idle / (work + idle), 1e-12);
        if (times.backward_weight == 0) {
          EXPECT_NEAR(result.bubble_share, (stages - 1.0) / (microbatches + stages - 1.0), 1e-12);
        }
        EXPECT_THAT(result.busy, testing::Each(testing::DoubleEq(work)));
      }
    }
  }
}

TEST(Simulate, MessagesTakeTheirTime) {
  // forward 1, message 10, forward 2, backward 3 + 4, message 20 sent between them, backward 5 + 6.
  const auto result = simulate(make_1f1b(2, 1), {{1, 5, 6, 10}, {2, 3, 4, 20}});
  EXPECT_DOUBLE_EQ(result.seconds, 1 + 10 + 2 + 3 + 20 + 5 + 6);
  EXPECT_THAT(result.busy, testing::ElementsAre(12, 9));
  EXPECT_DOUBLE_EQ(result.bubble_share, 1 - 21.0 / (2 * 47.0));
}

TEST(Simulate, SendsDoNotHoldTheSenderBack) {
  // Stage 0 computes its three forwards in a row although each message takes far longer.
  const auto result = simulate(make_gpipe(2, 3), {{1, 0, 0, 100}, {1, 0, 0, 0}});
  EXPECT_DOUBLE_EQ(result.seconds, 3 + 100 + 1);
}

TEST(Simulate, ASlowStageSetsThePace) {
  const auto result = simulate(make_1f1b(3, 10), {{1, 1, 1, 0}, {2, 2, 2, 0}, {1, 1, 1, 0}});
  // Stage 0 fills; its last backward pass hides behind the last weights of the slow stage.
  EXPECT_DOUBLE_EQ(result.seconds, 1 + 10 * 6);
}

TEST(Simulate, NothingToDoHasNoBubble) { EXPECT_EQ(simulate(make_gpipe(2, 2), {{}, {}}).bubble_share, 0); }

TEST(Simulate, RefusesWhatCannotEnd) {
  Schedule schedule = make_gpipe(2, 2);
  schedule.stages[0].clear();
  try {
    simulate(schedule, {{}, {}});
    FAIL() << "ended";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("stage 1, position 0: receive_activation of microbatch 0"));
  }
  EXPECT_THROW(simulate(make_gpipe(2, 2), {{}}), Error);
}

}  // namespace
}  // namespace trireme
