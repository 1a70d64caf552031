#include "model/pipeline/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/error.h"

namespace trireme {
namespace {

using testing::HasSubstr;

std::vector<int> order_of(const std::vector<Action>& actions, ActionKind kind) {
  std::vector<int> microbatches;
  for (const Action& action : actions) {
    if (action.kind == kind) microbatches.push_back(action.microbatch);
  }
  return microbatches;
}

std::string message_of(const Schedule& schedule) {
  try {
    validate(schedule);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::failed);
    return error.what();
  }
  return "accepted";
}

std::size_t position_of(const std::vector<Action>& actions, const Action& action) {
  return static_cast<std::size_t>(std::find(actions.begin(), actions.end(), action) - actions.begin());
}

class EverySchedule : public testing::TestWithParam<ScheduleKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, EverySchedule, testing::Values(ScheduleKind::gpipe, ScheduleKind::one_f_one_b),
                         [](const auto& tested) {
                           return tested.param == ScheduleKind::gpipe ? "gpipe" : "one_f_one_b";
                         });

TEST_P(EverySchedule, IsCorrectForAllSizes) {
  for (int stages = 1; stages <= 8; ++stages) {
    for (int microbatches = 1; microbatches <= 16; ++microbatches) {
      SCOPED_TRACE(testing::Message() << stages << " stages, " << microbatches << " microbatches");
      const Schedule schedule = make_schedule(GetParam(), stages, microbatches);
      ASSERT_EQ(schedule.stages.size(), static_cast<std::size_t>(stages));
      EXPECT_EQ(schedule.microbatches, microbatches);
      const ScheduleFacts facts = validate(schedule);
      ASSERT_EQ(facts.peak_slots.size(), static_cast<std::size_t>(stages));
      for (int stage = 0; stage < stages; ++stage) {
        const int expected = GetParam() == ScheduleKind::gpipe ? microbatches : std::min(microbatches, stages - stage);
        EXPECT_EQ(facts.peak_slots[static_cast<std::size_t>(stage)], expected) << "stage " << stage;
      }
    }
  }
}

// Gradients are added in the order of backward_weight, so equal orders give equal bits.
TEST_P(EverySchedule, AddsGradientsInTheOrderOfMicrobatches) {
  const Schedule schedule = make_schedule(GetParam(), 4, 6);
  for (const auto& actions : schedule.stages) {
    EXPECT_THAT(order_of(actions, ActionKind::backward_weight), testing::ElementsAre(0, 1, 2, 3, 4, 5));
  }
}

TEST_P(EverySchedule, SendsInputGradientBeforeItComputesWeightGradients) {
  const auto actions = make_schedule(GetParam(), 3, 4).stages[1];
  for (int i = 0; i < 4; ++i) {
    const std::size_t input = position_of(actions, {ActionKind::backward_input, i});
    EXPECT_EQ(position_of(actions, {ActionKind::send_gradient, i}), input + 1);
    EXPECT_EQ(position_of(actions, {ActionKind::backward_weight, i}), input + 2);
  }
}

TEST(Schedule, OneForwardOneBackwardIsTheTextbookList) {
  using enum ActionKind;
  const Schedule schedule = make_1f1b(2, 2);
  const std::vector<Action> first = {
      {forward, 0},        {send_activation, 0}, {forward, 1},          {send_activation, 1}, {receive_gradient, 0},
      {backward_input, 0}, {backward_weight, 0}, {receive_gradient, 1}, {backward_input, 1},  {backward_weight, 1}};
  const std::vector<Action> last = {
      {receive_activation, 0}, {forward, 0}, {backward_input, 0}, {send_gradient, 0}, {backward_weight, 0},
      {receive_activation, 1}, {forward, 1}, {backward_input, 1}, {send_gradient, 1}, {backward_weight, 1}};
  EXPECT_EQ(schedule.stages[0], first);
  EXPECT_EQ(schedule.stages[1], last);
}

TEST(Schedule, ForwardOnlyKeepsNothing) {
  for (int stages = 1; stages <= 8; ++stages) {
    for (int microbatches = 1; microbatches <= 16; ++microbatches) {
      const Schedule schedule = make_forward_only(stages, microbatches);
      EXPECT_THAT(validate(schedule).peak_slots, testing::AllOf(testing::SizeIs(stages), testing::Each(1)));
      for (const auto& actions : schedule.stages) {
        EXPECT_EQ(order_of(actions, ActionKind::forward).size(), static_cast<std::size_t>(microbatches));
      }
    }
  }
}

TEST(Schedule, ForwardOnlyRefusesBackwardPasses) {
  Schedule bad = make_forward_only(2, 1);
  bad.stages[0].push_back({ActionKind::backward_input, 0});
  EXPECT_THAT(message_of(bad),
              HasSubstr("backward_input of microbatch 0 has no place in a schedule of forward passes"));
}

TEST(Schedule, NamesAreParsed) {
  EXPECT_EQ(parse_schedule("gpipe"), ScheduleKind::gpipe);
  EXPECT_EQ(parse_schedule("1f1b"), ScheduleKind::one_f_one_b);
  try {
    parse_schedule("dualpipe");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    EXPECT_THAT(error.what(), HasSubstr("parallel.schedule: found 'dualpipe', expected gpipe or 1f1b"));
  }
}

TEST(Schedule, NeedsAStageAndAMicrobatch) {
  EXPECT_THROW(make_gpipe(0, 1), Error);
  EXPECT_THROW(make_1f1b(1, 0), Error);
  EXPECT_THROW(validate({}), Error);
}

TEST(Schedule, BatchesAreRunsOfMessages) {
  const auto actions = make_1f1b(2, 2).stages[0];
  EXPECT_EQ(batch_end(actions, 0), 0U);  // forward
  EXPECT_EQ(batch_end(actions, 1), 2U);
  EXPECT_EQ(batch_end(actions, 3), 5U);  // send_activation 1 with receive_gradient 0
  EXPECT_EQ(batch_end(actions, actions.size()), actions.size());
}

TEST(Validate, RefusesAnyMissingAction) {
  const Schedule good = make_1f1b(3, 4);
  for (std::size_t stage = 0; stage < 3; ++stage) {
    for (std::size_t i = 0; i < good.stages[stage].size(); ++i) {
      Schedule bad = good;
      bad.stages[stage].erase(bad.stages[stage].begin() + static_cast<std::ptrdiff_t>(i));
      const std::string message = message_of(bad);
      EXPECT_THAT(message, HasSubstr("schedule 1f1b: stage " + std::to_string(stage) + ", position "));
      EXPECT_THAT(message, HasSubstr("microbatch " + std::to_string(good.stages[stage][i].microbatch)));
    }
  }
}

TEST(Validate, RefusesAnyDoubledAction) {
  const Schedule good = make_gpipe(3, 4);
  for (std::size_t stage = 0; stage < 3; ++stage) {
    for (std::size_t i = 0; i < good.stages[stage].size(); ++i) {
      Schedule bad = good;
      const Action action = good.stages[stage][i];
      bad.stages[stage].insert(bad.stages[stage].begin() + static_cast<std::ptrdiff_t>(i), action);
      EXPECT_THAT(message_of(bad), HasSubstr("stage " + std::to_string(stage) + ", position " + std::to_string(i + 1) +
                                             ": " + to_string(action) + " was done before"));
    }
  }
}

TEST(Validate, NamesWhatAnActionNeeds) {
  const auto message_after_swap = [](ActionKind kind, std::ptrdiff_t distance) {
    Schedule bad = make_1f1b(3, 4);
    auto& actions = bad.stages[1];
    const auto at = static_cast<std::ptrdiff_t>(position_of(actions, {kind, 1}));
    std::swap(actions[static_cast<std::size_t>(at)], actions[static_cast<std::size_t>(at + distance)]);
    return message_of(bad);
  };
  EXPECT_THAT(message_after_swap(ActionKind::forward, -1),
              HasSubstr("forward of microbatch 1 needs receive_activation"));
  EXPECT_THAT(message_after_swap(ActionKind::forward, 1),
              HasSubstr("send_activation of microbatch 1 needs forward first"));
  EXPECT_THAT(message_after_swap(ActionKind::backward_input, -1),
              HasSubstr("backward_input of microbatch 1 needs receive_gradient first"));
  EXPECT_THAT(message_after_swap(ActionKind::backward_input, 1),
              HasSubstr("send_gradient of microbatch 1 needs backward_input first"));
  EXPECT_THAT(message_after_swap(ActionKind::backward_input, 2),
              HasSubstr("backward_weight of microbatch 1 needs backward_input first"));
}

TEST(Validate, BackwardInputNeedsForwardOnTheLastStage) {
  Schedule bad = make_gpipe(1, 1);
  std::swap(bad.stages[0][0], bad.stages[0][1]);
  EXPECT_THAT(message_of(bad), HasSubstr("stage 0, position 0: backward_input of microbatch 0 needs forward first"));
}

TEST(Validate, RefusesMessagesOverTheEnds) {
  Schedule bad = make_gpipe(2, 1);
  bad.stages[0].push_back({ActionKind::send_gradient, 0});
  EXPECT_THAT(message_of(bad), HasSubstr("stage 0, position 5: send_gradient of microbatch 0 has no stage before it"));
  bad = make_gpipe(2, 1);
  bad.stages[1].push_back({ActionKind::send_activation, 0});
  EXPECT_THAT(message_of(bad), HasSubstr("stage 1, position 5: send_activation of microbatch 0 has no stage after it"));
}

TEST(Validate, RefusesMicrobatchesThatDoNotExist) {
  for (const int microbatch : {-1, 2}) {
    Schedule bad = make_gpipe(1, 2);
    bad.stages[0].push_back({ActionKind::forward, microbatch});
    EXPECT_THAT(message_of(bad), HasSubstr("is outside the 2 microbatches"));
  }
}

// Each stage is in order by itself, but stage 0 computes between sending an activation and receiving a gradient, while
// stage 1 sends that gradient before it receives the activation.
TEST(Validate, RefusesSendsThatCross) {
  using enum ActionKind;
  Schedule bad = make_1f1b(2, 3);
  bad.stages[0] = {{forward, 0},          {send_activation, 0},  {forward, 1},        {send_activation, 1},
                   {forward, 2},          {receive_gradient, 0}, {backward_input, 0}, {backward_weight, 0},
                   {send_activation, 2},  {receive_gradient, 1}, {backward_input, 1}, {backward_weight, 1},
                   {receive_gradient, 2}, {backward_input, 2},   {backward_weight, 2}};
  const std::string message = message_of(bad);
  EXPECT_THAT(message, HasSubstr("deadlock"));
  EXPECT_THAT(message, HasSubstr("stage 0, position 3: send_activation of microbatch 1"));
  EXPECT_THAT(message, HasSubstr("stage 1, position 3: send_gradient of microbatch 0"));
}

// The next stage takes activations in another order than this one sends them.
TEST(Validate, RefusesReceivesInAnotherOrder) {
  Schedule bad = make_gpipe(2, 2);
  for (Action& action : bad.stages[1]) action.microbatch = 1 - action.microbatch;
  const std::string message = message_of(bad);
  EXPECT_THAT(message, HasSubstr("deadlock"));
  EXPECT_THAT(message, HasSubstr("stage 0, position 1: send_activation of microbatch 0"));
  EXPECT_THAT(message, HasSubstr("stage 1, position 0: receive_activation of microbatch 1"));
}

}  // namespace
}  // namespace trireme
