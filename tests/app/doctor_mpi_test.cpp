// What `train` checks at its start, on the ranks that run it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "app/doctor.h"
#include "app/doctor/exchange.h"
#include "tests/app/support.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

class CheckBeforeTraining : public testing::Test {
 protected:
  /// The same folder on all ranks, as they are on one host: rank 0's.
  CheckBeforeTraining() {
    configuration_.checkpoint.directory = broadcast_text(world_.all(), folder_.path().string(), Patience().of(world_));
  }
  ~CheckBeforeTraining() override { world_.all().barrier(); }

  World& world_ = test_world();
  test::TemporaryFolder folder_;
  Configuration configuration_;
};

TEST_F(CheckBeforeTraining, CostsLittle) {
  // The shortest of a few: this machine has other things to do.
  double shortest = 1e9;
  for (int i = 0; i < 5; ++i) {
    world_.all().barrier();
    testing::internal::CaptureStderr();
    const auto start = std::chrono::steady_clock::now();
    check_before_training(configuration_, world_, 1000);
    shortest = std::min(shortest, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    const std::string printed = testing::internal::GetCapturedStderr();
    EXPECT_THAT(printed, testing::Not(testing::HasSubstr("FAIL")));
    if (world_.rank() != 0) {
      EXPECT_THAT(printed, testing::IsEmpty());
    }
  }
  RecordProperty("milliseconds", static_cast<int>(1000 * shortest));
  EXPECT_LT(shortest, 5) << "a bound far above the milliseconds that it takes";
}

TEST_F(CheckBeforeTraining, RefusesADirectoryWithoutRoom) {
  testing::internal::CaptureStderr();
  try {
    check_before_training(configuration_, world_, std::int64_t{1} << 50);  // 13 PB
    ADD_FAILURE() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("checkpoint.directory="),
                                             testing::HasSubstr("a checkpoint takes 13.5 PB")));
  }
  testing::internal::GetCapturedStderr();
}

TEST_F(CheckBeforeTraining, TheDirectoryIsMeasuredAndLeftAsItWas) {
  const Findings findings =
      check_directory(world_, {0}, configuration_.checkpoint.directory, true, std::nullopt, Patience());
  if (world_.rank() != 0) {
    EXPECT_TRUE(findings.empty());
    return;
  }
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].verdict, Verdict::ok) << findings[0].text;
  EXPECT_THAT(findings[0].text, testing::HasSubstr("/s written"));
  EXPECT_TRUE(std::filesystem::is_empty(configuration_.checkpoint.directory));  // it leaves nothing behind
}

TEST_F(CheckBeforeTraining, TheRingHasAllPairs) {
  const auto backend = make_cpu_backend(1);
  const RingReport ring = measure_ring(world_, world_.all(), *backend, Patience{60});
  if (world_.rank() != 0) return;
  std::vector<std::pair<int, int>> pairs, wanted;
  for (const PairReport& pair : ring.pairs) {
    pairs.emplace_back(pair.first, pair.second);
    EXPECT_EQ(pair.silence, "");
    EXPECT_GT(pair.bandwidth, 0);
    EXPECT_GT(pair.latency, 0);
  }
  for (int rank = 0; rank + 1 < world_.size(); ++rank) wanted.emplace_back(rank, rank + 1);
  if (world_.size() > 2) wanted.emplace_back(0, world_.size() - 1);
  EXPECT_THAT(pairs, testing::UnorderedElementsAreArray(wanted));
  EXPECT_TRUE(ring.connections.empty());  // all on this host
}

}  // namespace
}  // namespace trireme
