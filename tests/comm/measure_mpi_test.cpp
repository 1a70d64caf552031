// Texts and measurements between ranks, and what happens when one stays silent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "comm/measure.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

using std::chrono::steady_clock;

Deadline in(double seconds) {
  return steady_clock::now() +
         std::chrono::duration_cast<steady_clock::duration>(std::chrono::duration<double>(seconds));
}

class MeasureTest : public testing::Test {
 protected:
  std::unique_ptr<Communicator> everyone() {
    std::vector<int> ranks(static_cast<std::size_t>(world_.size()));
    std::iota(ranks.begin(), ranks.end(), 0);
    return world_.group("measure", ranks);
  }

  World& world_ = test_world();
  std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
};

TEST_F(MeasureTest, TextsOfAnyLengthArrive) {
  for (const std::size_t length : {0U, 1U, 4U, 1000U, 300001U}) {
    const std::string first(length, 'a');
    EXPECT_EQ(broadcast_text(world_.all(), world_.rank() == 0 ? first : "not this", in(60)), first);
    const std::string mine(length + static_cast<std::size_t>(world_.rank()), static_cast<char>('a' + world_.rank()));
    const auto all = gather_texts(world_.all(), mine, in(60));
    if (world_.rank() != 0) {
      EXPECT_TRUE(all.empty());
      continue;
    }
    ASSERT_EQ(all.size(), static_cast<std::size_t>(world_.size()));
    for (std::size_t rank = 0; rank < all.size(); ++rank)
      EXPECT_EQ(all[rank], std::string(length + rank, static_cast<char>('a' + rank)));
  }
}

TEST_F(MeasureTest, FiguresOfALinkArePlausible) {
  const int peer = world_.rank() ^ 1;
  if (peer >= world_.size()) return;
  const LinkSpeed speed = measure_link(world_.all(), *backend_, peer, in(60));
  EXPECT_GT(speed.latency, 1e-8);
  EXPECT_LT(speed.latency, 1);
  EXPECT_GT(speed.bandwidth, 1e6);
  EXPECT_LT(speed.bandwidth, 1e12);
}

TEST_F(MeasureTest, FiguresOfAnAllReduceArePlausible) {
  if (world_.size() == 1) return;
  const double small = measure_all_reduce(world_.all(), *backend_, 8, in(60));
  const double large = measure_all_reduce(world_.all(), *backend_, 4 * measured_bytes, in(60));
  EXPECT_GT(small, 1e-8);
  EXPECT_GT(large, 4 * measured_bytes / 1e12);
}

TEST_F(MeasureTest, ClocksOfOneHostAgree) {
  const int peer = world_.rank() ^ 1;
  if (peer >= world_.size()) return;
  const double ahead = measure_clock(world_.all(), peer, world_.rank() < peer, in(60));
  EXPECT_NEAR(ahead, 0, 0.05);
}

TEST_F(MeasureTest, ASilentPeerIsNamedInTime) {
  if (world_.size() == 1 || world_.rank() > 1) {
    world_.all().barrier();
    return;
  }
  if (world_.rank() == 0) {
    const auto start = steady_clock::now();
    try {
      measure_link(world_.all(), *backend_, 1, in(0.2));
      ADD_FAILURE() << "rank 1 has answered";
    } catch (const Unanswered& error) {
      EXPECT_STREQ(error.what(), "rank 1 does not answer rank 0");
    }
    EXPECT_GE(steady_clock::now() - start, std::chrono::milliseconds(200));
    EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(30));
  }
  world_.all().barrier();
  // The message of rank 0 and the answer that it waited for, so that nothing is left for the tests that follow.
  if (world_.rank() != 1) return;
  const Tensor message = backend_->allocate({2}, DType::f32);
  const std::vector<Transfer> both = {{Transfer::Direction::receive, 0, measure_tag, message},
                                      {Transfer::Direction::send, 0, measure_tag, message}};
  world_.all().exchange(both).wait();
}

TEST_F(MeasureTest, TheTextsOfOthersArriveThoughOneIsSilent) {
  const auto ranks = everyone();
  const int silent = world_.size() - 1;
  if (silent == 0) return;
  // Small messages are sent when they are on their way: those of the others are here when rank 0's time begins.
  if (world_.rank() != silent && world_.rank() != 0) gather_texts(*ranks, "here", in(60));
  world_.all().barrier();
  if (world_.rank() == 0) {
    const auto all = gather_texts(*ranks, "here", in(0.2));
    for (std::size_t rank = 0; rank < all.size(); ++rank)
      EXPECT_EQ(all[rank], static_cast<int>(rank) == silent ? std::nullopt : std::optional<std::string>("here"));
  }
  world_.all().barrier();
  if (world_.rank() != silent) return;
  Tensor length = backend_->allocate({1}, DType::i32);
  const Transfer late{Transfer::Direction::send, 0, length_tag, length};
  ranks->exchange({&late, 1}).wait();
}

}  // namespace
}  // namespace trireme
