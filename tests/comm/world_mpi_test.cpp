// Ranks, hosts, groups along the axes of a grid, and how a job ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "comm/process_grid.h"
#include "kernels/backend.h"
#include "kernels/error.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

class WorldTest : public testing::Test {
 protected:
  std::int32_t sum(Communicator& group, std::int32_t value) {
    Tensor tensor = backend_->allocate({1}, DType::i32);
    tensor.values<std::int32_t>()[0] = value;
    group.all_reduce(tensor, Reduction::sum).wait();
    return tensor.values<std::int32_t>()[0];
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
  World& world_ = test_world();
};

TEST_F(WorldTest, KnowsItsRanks) {
  EXPECT_EQ(world_.all().rank(), world_.rank());
  EXPECT_EQ(world_.all().size(), world_.size());
  EXPECT_EQ(sum(world_.all(), world_.rank()), world_.size() * (world_.size() - 1) / 2);
  EXPECT_FALSE(world_.host().empty());
  // The tests run on one machine.
  EXPECT_EQ(world_.local_rank(), world_.rank());
  EXPECT_EQ(world_.local_size(), world_.size());
}

TEST_F(WorldTest, StampsItsRankOnErrors) {
  try {
    fail("on purpose");
  } catch (const Error& error) {
    EXPECT_EQ(error.rank(), world_.rank());
  }
}

TEST_F(WorldTest, GroupsAlongTheAxesOfAGrid) {
  const int outer = world_.size() == 4 ? 2 : 1;
  const ProcessGrid grid({{"tensor", world_.size() / outer}, {"data", 1}, {"pipeline", outer}});
  for (const char* axis : {"tensor", "data", "pipeline"}) {
    const std::vector<int> ranks = grid.group(world_.rank(), {axis});
    const auto group = world_.group(axis, ranks);
    EXPECT_EQ(group->name(), axis);
    EXPECT_EQ(group->size(), grid.size_of(axis));
    EXPECT_EQ(group->rank(), grid.coordinate(world_.rank(), axis));
    std::int32_t expected = 0;
    for (const int rank : ranks) expected += 1 << rank;
    EXPECT_EQ(sum(*group, 1 << world_.rank()), expected);
  }
}

TEST_F(WorldTest, TheListNumbersTheRanks) {
  std::vector<int> backwards;
  for (int rank = world_.size(); rank-- > 0;) backwards.push_back(rank);
  const auto group = world_.group("backwards", backwards);
  EXPECT_EQ(group->rank(), world_.size() - 1 - world_.rank());
}

TEST_F(WorldTest, DifferentGroupsWorkAtOnce) {
  const int outer = world_.size() == 4 ? 2 : 1;
  const ProcessGrid grid({{"tensor", world_.size() / outer}, {"pipeline", outer}});
  const auto tensor = world_.group("tensor", grid.group(world_.rank(), {"tensor"}));
  const auto pipeline = world_.group("pipeline", grid.group(world_.rank(), {"pipeline"}));
  std::vector<Tensor> sums;
  std::vector<Request> requests;
  for (Communicator* group : {tensor.get(), &world_.all(), pipeline.get(), tensor.get()}) {
    sums.push_back(backend_->allocate({50'000}, DType::i32));
    for (std::int32_t& value : sums.back().values<std::int32_t>()) value = 1;
    requests.push_back(group->all_reduce(sums.back(), Reduction::sum));
  }
  // Ranks wait in opposite orders: every request must progress whichever is waited for.
  if (world_.rank() % 2 != 0) std::reverse(requests.begin(), requests.end());
  for (Request& request : requests) request.wait();
  const int expected[] = {tensor->size(), world_.size(), pipeline->size(), tensor->size()};
  for (std::size_t i = 0; i < sums.size(); ++i)
    EXPECT_EQ(std::ranges::count(sums[i].values<std::int32_t>(), expected[i]), 50'000) << "request " << i;
}

TEST_F(WorldTest, RanksOfAHostShareMemory) {
  auto* values = static_cast<std::atomic<int>*>(world_.shared_memory(sizeof(std::atomic<int>) * 8));
  ASSERT_NE(values, nullptr) << "is there no /dev/shm?";
  EXPECT_EQ(values[world_.local_rank()].exchange(world_.rank() + 1), 0);
  world_.all().barrier();
  int found = 0;
  for (int rank = 0; rank < world_.local_size(); ++rank) found += values[rank] > 0 ? 1 : 0;
  EXPECT_EQ(found, world_.local_size());
}

TEST_F(WorldTest, RefusesAGroupWithoutItself) { EXPECT_THROW(world_.group("others", {world_.size()}), Error); }

TEST_F(WorldTest, NoticesListsThatDiffer) {
  if (world_.size() == 1) GTEST_SKIP() << "needs two ranks";
  std::vector<int> ranks;
  for (int rank = 0; rank < world_.size(); ++rank) ranks.push_back(rank);
  if (world_.rank() == 0) std::swap(ranks[0], ranks[1]);
  // Every rank whose list is not what came about says so; one is enough to end a job.
  if (world_.rank() == 0)
    EXPECT_THROW(world_.group("muddled", ranks), Error);
  else
    world_.group("muddled", ranks);
}

class ThreadsPerRank : public WorldTest {
 protected:
  ThreadsPerRank() {
    if (const char* value = std::getenv("OMP_NUM_THREADS")) before_ = value;
  }
  ~ThreadsPerRank() override { setenv("OMP_NUM_THREADS", before_.c_str(), 1); }
  std::string before_;
};

TEST_F(ThreadsPerRank, IsWhatTheUserSays) {
  setenv("OMP_NUM_THREADS", "3", 1);
  EXPECT_EQ(threads_per_rank(world_), 3);
  setenv("OMP_NUM_THREADS", "5,2", 1);
  EXPECT_EQ(threads_per_rank(world_), 5);
}

TEST_F(ThreadsPerRank, OrAShareOfTheCores) {
  unsetenv("OMP_NUM_THREADS");
  EXPECT_GE(world_.cores(), 1);
  EXPECT_EQ(world_.core_sharers(), world_.size()) << "mpirun.sh binds no rank";
  EXPECT_EQ(threads_per_rank(world_), std::max(1, world_.cores() / world_.size()));
}

TEST_F(ThreadsPerRank, RefusesWhatIsNoNumber) {
  for (const char* wrong : {"0", "-1", "many", "2x"}) {
    setenv("OMP_NUM_THREADS", wrong, 1);
    try {
      threads_per_rank(world_);
      ADD_FAILURE() << wrong << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input);
      EXPECT_THAT(error.what(), testing::HasSubstr(std::string("OMP_NUM_THREADS = \"") + wrong));
    }
  }
}

// Ends of jobs that tests/comm/job_end_test.cpp starts and looks at from outside.

TEST_F(WorldTest, DISABLED_EndsTheJobWithAStatus) {
  if (world_.rank() == world_.size() - 1) {
    std::printf("last words");
    world_.abort(75);
  }
  world_.all().barrier();
  ADD_FAILURE() << "the job went on";
}

TEST_F(WorldTest, DISABLED_FailsOnTheLastRank) { EXPECT_NE(world_.rank(), world_.size() - 1) << "on purpose"; }

TEST_F(WorldTest, DISABLED_WaitsForWhatNeverComes) {
  if (world_.rank() == 0) world_.all().barrier();
}

TEST_F(WorldTest, DISABLED_FailsWhileOthersWait) {
  ASSERT_NE(world_.rank(), world_.size() - 1) << "on purpose";
  world_.all().barrier();
}

}  // namespace
}  // namespace trireme
