#include "comm/process_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ProcessGrid grid_2_3_2() { return ProcessGrid({{"tensor", 2}, {"data", 3}, {"pipeline", 2}}); }

TEST(ProcessGrid, FirstAxisIsFastest) {
  const ProcessGrid grid = grid_2_3_2();
  EXPECT_EQ(grid.size(), 12);
  EXPECT_EQ(grid.size_of("data"), 3);
  EXPECT_EQ(grid.coordinate(7, "tensor"), 1);
  EXPECT_EQ(grid.coordinate(7, "data"), 0);
  EXPECT_EQ(grid.coordinate(7, "pipeline"), 1);
}

TEST(ProcessGrid, RankAtInvertsCoordinates) {
  const ProcessGrid grid = grid_2_3_2();
  for (int rank = 0; rank < grid.size(); ++rank)
    EXPECT_EQ(grid.rank_at(
                  {grid.coordinate(rank, "tensor"), grid.coordinate(rank, "data"), grid.coordinate(rank, "pipeline")}),
              rank);
}

TEST(ProcessGrid, GroupsAlongOneAxis) {
  const ProcessGrid grid = grid_2_3_2();
  EXPECT_THAT(grid.group(7, {"tensor"}), ElementsAre(6, 7));
  EXPECT_THAT(grid.group(7, {"data"}), ElementsAre(7, 9, 11));
  EXPECT_THAT(grid.group(7, {"pipeline"}), ElementsAre(1, 7));
}

TEST(ProcessGrid, GroupsAlongSeveralAxesOrNone) {
  const ProcessGrid grid = grid_2_3_2();
  EXPECT_THAT(grid.group(3, {"pipeline", "tensor"}), ElementsAre(2, 3, 8, 9));
  EXPECT_THAT(grid.group(3, {}), ElementsAre(3));
  EXPECT_EQ(grid.group(3, {"tensor", "data", "pipeline"}).size(), 12U);
}

template <typename Action>
std::string message_of(Action action, ExitStatus status) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status);
    return error.what();
  }
  return "no error";
}

TEST(ProcessGrid, RefusesImpossibleAxes) {
  EXPECT_THAT(message_of([] { ProcessGrid({{"data", 0}}); }, ExitStatus::invalid_input), HasSubstr("axis data"));
  EXPECT_THAT(message_of(
                  [] {
                    ProcessGrid({{"data", 2}, {"data", 3}});
                  },
                  ExitStatus::invalid_input),
              HasSubstr("two axes named data"));
}

TEST(ProcessGrid, FailsOnWhatIsNotInIt) {
  const ProcessGrid grid = grid_2_3_2();
  EXPECT_THAT(message_of([&] { grid.size_of("expert"); }, ExitStatus::failed), HasSubstr("no axis expert"));
  EXPECT_THAT(message_of([&] { grid.group(0, {"expert"}); }, ExitStatus::failed), HasSubstr("no axis expert"));
  EXPECT_THAT(message_of([&] { grid.coordinate(12, "data"); }, ExitStatus::failed), HasSubstr("rank 12"));
  EXPECT_THAT(message_of([&] { grid.rank_at({0, 3, 0}); }, ExitStatus::failed), HasSubstr("coordinate 3"));
  EXPECT_THAT(message_of([&] { grid.rank_at({0, 0}); }, ExitStatus::failed), HasSubstr("2 coordinates"));
}

}  // namespace
}  // namespace trireme
