#include "comm/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/error_of.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

LayoutLimits limits_of(int world) {
  return {.world = world,
          .heads = 12,
          .key_value_heads = 4,
          .feed_forward = 3072,
          .vocabulary = 8001,
          .blocks = 6,
          .global_batch = 32,
          .micro_batch = 4};
}

std::string refusal(const Layout& requested, const LayoutLimits& limits) {
  try {
    resolve_layout(requested, limits);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    return error.what();
  }
  return "accepted";
}

TEST(Layout, DataIsWhatTheOthersLeave) {
  EXPECT_EQ(resolve_layout({}, limits_of(1)), (Layout{1, 1, 1}));
  EXPECT_EQ(resolve_layout({0, 2, 2}, limits_of(8)), (Layout{2, 2, 2}));
  EXPECT_EQ(resolve_layout({0, 1, 3}, limits_of(6)), (Layout{2, 1, 3}));
  EXPECT_EQ(resolve_layout({8, 4, 6}, limits_of(192)), (Layout{8, 4, 6}));
}

TEST(Layout, VocabularyNeedNotDivide) { EXPECT_EQ(resolve_layout({1, 4, 1}, limits_of(4)), (Layout{1, 4, 1})); }

TEST(Layout, RefusesAProductThatIsNotTheWorld) {
  EXPECT_THAT(refusal({2, 1, 1}, limits_of(4)),
              AllOf(HasSubstr("parallel.data = 2 x parallel.tensor = 1 x parallel.pipeline = 1 is 2 ranks"),
                    HasSubstr("expected the 4 of the job"),
                    EndsWith("nearest: data 4 x tensor 1 x pipeline 1; data 2 x tensor 1 x pipeline 2; "
                             "data 2 x tensor 2 x pipeline 1")));
}

TEST(Layout, RefusesAxesThatDoNotDivideTheWorld) {
  EXPECT_THAT(refusal({0, 1, 3}, limits_of(4)),
              AllOf(HasSubstr("parallel.tensor = 1 x parallel.pipeline = 3"), HasSubstr("the 4 ranks"),
                    HasSubstr("nearest: data 1 x tensor 1 x pipeline 4;")));
}

TEST(Layout, RefusesTensorThatDoesNotDivideTheModel) {
  EXPECT_THAT(refusal({0, 8, 1}, limits_of(8)), AllOf(HasSubstr("parallel.tensor = 8"), HasSubstr("model.heads = 12"),
                                                      HasSubstr("nearest: data 2 x tensor 4 x pipeline 1;")));
  EXPECT_THAT(refusal({0, 3, 1}, limits_of(6)), HasSubstr("model.key_value_heads = 4"));
  LayoutLimits odd = limits_of(4);
  odd.feed_forward = 3070;
  EXPECT_THAT(refusal({0, 4, 1}, odd), HasSubstr("model.feed_forward = 3070"));
  LayoutLimits tiny = limits_of(4);
  tiny.vocabulary = 3;
  EXPECT_THAT(refusal({0, 4, 1}, tiny), HasSubstr("vocabulary of 3"));
}

TEST(Layout, RefusesMoreStagesThanBlocks) {
  EXPECT_THAT(refusal({0, 1, 8}, limits_of(8)),
              AllOf(HasSubstr("parallel.pipeline = 8: the model has 6 blocks"),
                    HasSubstr("nearest: data 2 x tensor 1 x pipeline 4;"), Not(HasSubstr("pipeline 8;"))));
}

TEST(Layout, RefusesABatchThatDoesNotDivide) {
  EXPECT_THAT(refusal({}, limits_of(3)),
              AllOf(HasSubstr("parallel.data = 3"), HasSubstr("train.global_batch = 32"),
                    HasSubstr("train.micro_batch = 4"), EndsWith("nearest: data 1 x tensor 1 x pipeline 3")));
  LayoutLimits limits = limits_of(1);
  limits.micro_batch = 5;
  EXPECT_THAT(refusal({}, limits), AllOf(HasSubstr("train.global_batch = 32"), HasSubstr("train.micro_batch = 5")));
}

TEST(Layout, RefusesSizesBelowOne) {
  EXPECT_THAT(refusal({0, 0, 1}, limits_of(4)), HasSubstr("parallel.tensor = 0: expected at least 1"));
  EXPECT_THAT(refusal({0, 1, -2}, limits_of(4)), HasSubstr("parallel.pipeline = -2: expected at least 1"));
  EXPECT_THAT(refusal({-1, 1, 1}, limits_of(4)), HasSubstr("parallel.data = -1: expected at least 1"));
}

TEST(Layout, NamesTheWorldsThatWorkWhereNoneDoes) {
  EXPECT_THAT(refusal({}, limits_of(7)),
              EndsWith("no layout fits 7 ranks; world sizes that have one: 4, 5, 6, 8, 10, 12"));
  EXPECT_THAT(refusal({}, limits_of(1000)),
              EndsWith("no layout fits 1000 ranks; world sizes that have one: 128, 160, 192"));
}

TEST(Layout, EveryLayoutNamedAsNearestIsAccepted) {
  for (int world = 1; world <= 64; ++world) {
    const std::string message = refusal({0, 5, 1}, limits_of(world));
    const auto start = message.find("nearest: ");
    if (start == std::string::npos) continue;
    Layout named;
    ASSERT_EQ(std::sscanf(message.c_str() + start, "nearest: data %d x tensor %d x pipeline %d", &named.data,
                          &named.tensor, &named.pipeline),
              3);
    EXPECT_EQ(resolve_layout(named, limits_of(world)), named);
  }
}

TEST(FitLayout, KeepsTensorAndPipelineWithTheDataRanksThatFindRoom) {
  EXPECT_EQ(fit_layout({0, 2, 1}, limits_of(16)), (Layout{8, 2, 1}));
  EXPECT_EQ(fit_layout({0, 2, 1}, limits_of(15)), (Layout{4, 2, 1})) << "7, 6 and 5 do not divide the batch";
  EXPECT_EQ(fit_layout({0, 2, 3}, limits_of(7)), (Layout{1, 2, 3}));
  EXPECT_EQ(fit_layout({0, 1, 1}, limits_of(1000)), (Layout{8, 1, 1})) << "the batch has no more microbatches";
}

TEST(FitLayout, TakesNoMoreDataRanksThanRequested) {
  EXPECT_EQ(fit_layout({2, 2, 1}, limits_of(16)), (Layout{2, 2, 1}));
  EXPECT_EQ(fit_layout({4, 2, 1}, limits_of(7)), (Layout{2, 2, 1}));
}

TEST(FitLayout, TakesTheNearestOfMostRanksWhereTheRequestedAxesFindNoRoom) {
  EXPECT_EQ(fit_layout({0, 4, 2}, limits_of(7)), (Layout{1, 2, 3})) << "7 ranks have no layout, 6 have";
  EXPECT_EQ(fit_layout({0, 4, 1}, limits_of(2)), (Layout{1, 2, 1}));
  EXPECT_EQ(fit_layout({2, 1, 6}, limits_of(5)), (Layout{1, 1, 5}));
  EXPECT_EQ(fit_layout({8, 4, 6}, limits_of(1)), (Layout{1, 1, 1}));
}

TEST(FitLayout, WhatItFindsIsAccepted) {
  for (int world = 1; world <= 64; ++world)
    for (const Layout& requested : {Layout{0, 1, 1}, Layout{0, 4, 1}, Layout{4, 2, 2}, Layout{0, 2, 5}}) {
      const Layout found = fit_layout(requested, limits_of(world));
      const int ranks = found.data * found.tensor * found.pipeline;
      EXPECT_LE(ranks, world);
      EXPECT_EQ(resolve_layout(found, limits_of(ranks)), found);
    }
}

TEST(FitLayout, RefusesWhatNoNumberOfRanksCouldServe) {
  const auto refused = [](const Layout& requested, const LayoutLimits& limits) {
    const Error error = error_of([&] { fit_layout(requested, limits); });
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    return std::string(error.what());
  };
  EXPECT_THAT(refused({0, 8, 1}, limits_of(16)), HasSubstr("parallel.tensor = 8: does not divide model.heads = 12"));
  EXPECT_THAT(refused({0, 1, 7}, limits_of(16)), HasSubstr("parallel.pipeline = 7: the model has 6 blocks"));
  EXPECT_THAT(refused({3, 1, 1}, limits_of(2)), HasSubstr("parallel.data = 3: train.global_batch = 32"));
  EXPECT_THAT(refused({-1, 1, 1}, limits_of(2)), HasSubstr("parallel.data = -1: expected at least 1"));
  LayoutLimits limits = limits_of(2);
  limits.micro_batch = 5;
  EXPECT_THAT(refused({}, limits), HasSubstr("expected a positive multiple of train.micro_batch = 5"));
}

}  // namespace
}  // namespace trireme
