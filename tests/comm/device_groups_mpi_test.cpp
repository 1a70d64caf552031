#include <gtest/gtest.h>

#include "comm/device_groups.h"
#include "kernels/error.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

TEST(DeviceGroups, EveryRankLearnsEveryPlace) {
  World& world = test_world();
  const auto place = [](int rank) { return GpuPlace{fmt::format("host of rank {}", rank), -7 * rank, rank % 2 == 0}; };
  const std::vector<GpuPlace> places = gather_places(world, place(world.rank()));
  ASSERT_EQ(places.size(), static_cast<std::size_t>(world.size()));
  for (int rank = 0; rank < world.size(); ++rank) {
    const GpuPlace& found = places[static_cast<std::size_t>(rank)];
    EXPECT_EQ(found.host, place(rank).host);
    EXPECT_EQ(found.gpu, place(rank).gpu);
    EXPECT_EQ(found.nccl, place(rank).nccl);
  }
}

TEST(DeviceGroups, LongNamesOfHostsAreCut) {
  World& world = test_world();
  const std::vector<GpuPlace> places = gather_places(world, {std::string(500, 'x'), 1, true});
  EXPECT_EQ(places[0].host, std::string(119, 'x'));
  EXPECT_EQ(places[0].gpu, 1);
}

TEST(DeviceGroups, TensorsOfTheCpuGoThroughMpi) {
  World& world = test_world();
  const auto backend = make_cpu_backend(1);
  DeviceGroups groups(world, *backend);
  EXPECT_EQ(groups.transport(), Transport::host);
  std::vector<int> everyone;
  for (int rank = 0; rank < world.size(); ++rank) everyone.push_back(rank);
  const auto all = groups.group("everyone", everyone);
  EXPECT_EQ(all->size(), world.size());
  EXPECT_EQ(all->name(), "everyone");
}

}  // namespace
}  // namespace trireme
