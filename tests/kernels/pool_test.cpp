#include "kernels/pool.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "kernels/backend.h"
#include "kernels/error.h"
#include "kernels/philox.h"

namespace trireme {
namespace {

/// What a test can see of, and limit in, the source of its pool.
struct SourceLog {
  std::size_t limit = std::size_t{1} << 30;
  std::size_t held = 0;
  std::multiset<std::size_t> sizes;
};

class LoggedSource final : public MemorySource {
 public:
  explicit LoggedSource(SourceLog& log) : log_(log) {}
  void* allocate(std::size_t bytes) override {
    if (log_.held + bytes > log_.limit) fail("{} bytes wanted", bytes);
    log_.held += bytes;
    log_.sizes.insert(bytes);
    return std::aligned_alloc(64, bytes);
  }
  void release(void* memory, std::size_t bytes) noexcept override {
    log_.held -= bytes;
    log_.sizes.extract(bytes);
    std::free(memory);
  }

 private:
  SourceLog& log_;
};

struct Pool : testing::Test {
  SourceLog log;
  MemoryPool pool{std::make_unique<LoggedSource>(log)};
};

TEST_F(Pool, SteadyStateTakesNothingFromTheSource) {
  const auto step = [&] {
    const PoolBlock kept = pool.allocate(1000);
    std::vector<PoolBlock> blocks;
    for (const std::size_t bytes : {1000U, 5000U, 70000U, 5000U}) blocks.push_back(pool.allocate(bytes));
  };
  step();
  const std::int64_t before = pool.statistics().system_allocations;
  EXPECT_EQ(before, 5);
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(pool.statistics().system_allocations, before);
  EXPECT_EQ(pool.statistics().bytes_in_use, 0U);
}

TEST_F(Pool, TakesTheBestFitAndWastesAtMostAnEighth) {
  void* small = nullptr;
  {
    const PoolBlock a = pool.allocate(64 * 256);
    const PoolBlock b = pool.allocate(66 * 256);
    small = a.data();
  }
  const PoolBlock best = pool.allocate(60 * 256);
  EXPECT_EQ(best.data(), small);
  const PoolBlock too_small_for_the_other = pool.allocate(50 * 256);
  EXPECT_EQ(pool.statistics().system_allocations, 3);
  const PoolBlock fits = pool.allocate(66 * 256);
  EXPECT_EQ(pool.statistics().system_allocations, 3);
}

TEST_F(Pool, BlocksThatAreKeptFitWhateverIsSmaller) {
  MemoryPool keeping(std::make_unique<LoggedSource>(log), FreeBlocks::keep);
  void* large = nullptr;
  {
    const PoolBlock a = keeping.allocate(64 * 256);
    large = a.data();
  }
  EXPECT_EQ(keeping.allocate(256).data(), large);
  log.limit = log.held + 1024;
  EXPECT_THROW(keeping.allocate(65 * 256), Error) << "not even for this are they given back";
  EXPECT_EQ(keeping.allocate(64 * 256).data(), large);
}

TEST_F(Pool, TheLastReferenceGivesTheBlockBack) {
  PoolBlock first = pool.allocate(100);
  PoolBlock second = first;
  EXPECT_EQ(second.data(), first.data());
  first = PoolBlock();
  EXPECT_FALSE(first);
  EXPECT_GT(pool.statistics().bytes_in_use, 0U);
  const PoolBlock moved = std::move(second);
  EXPECT_GT(pool.statistics().bytes_in_use, 0U);
  second = moved;
  EXPECT_EQ(second.data(), moved.data());
}

TEST_F(Pool, CountsPeakAndHeldBytes) {
  {
    const PoolBlock a = pool.allocate(1024);
    const PoolBlock b = pool.allocate(2048);
  }
  const PoolBlock c = pool.allocate(1024);
  const PoolStatistics statistics = pool.statistics();
  EXPECT_EQ(statistics.bytes_in_use, 1024U);
  EXPECT_EQ(statistics.peak_bytes_in_use, 3072U);
  EXPECT_EQ(statistics.bytes_held, 3072U);
}

TEST_F(Pool, TrimGivesFreeBlocksBackAndKeepsOthers) {
  const PoolBlock kept = pool.allocate(1024);
  { const PoolBlock freed = pool.allocate(4096); }
  pool.trim();
  EXPECT_EQ(log.sizes, std::multiset<std::size_t>{1024});
  EXPECT_EQ(pool.statistics().bytes_held, 1024U);
}

TEST_F(Pool, AFullSourceGetsFreeBlocksBackBeforeTheAllocationFails) {
  log.limit = 10 * 1024;
  { const PoolBlock freed = pool.allocate(8 * 1024); }
  const PoolBlock other = pool.allocate(4 * 1024);
  EXPECT_TRUE(other);
  EXPECT_THROW(pool.allocate(8 * 1024), Error);
  EXPECT_EQ(pool.statistics().bytes_in_use, 4096U);
  EXPECT_EQ(pool.statistics().bytes_held, 4096U);
}

TEST_F(Pool, ThreadsNeverShareABlock) {
  std::vector<std::thread> threads;
  std::vector<int> spoiled(8);
  for (unsigned char id = 0; id < 8; ++id) {
    threads.emplace_back([&, id] {
      std::vector<PoolBlock> held(4);
      std::vector<std::size_t> sizes(4);
      for (std::uint64_t i = 0; i < 2000; ++i) {
        const std::size_t slot = i % 4;
        const auto* bytes = static_cast<const unsigned char*>(held[slot].data());
        for (std::size_t at = 0; at < sizes[slot]; ++at) spoiled[id] += bytes[at] != id;
        held[slot] = PoolBlock();
        sizes[slot] = 1 + philox(1, id, i)[0] % 1500;
        held[slot] = pool.allocate(sizes[slot]);
        std::memset(held[slot].data(), id, sizes[slot]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(spoiled, std::vector<int>(8));
  EXPECT_EQ(pool.statistics().bytes_in_use, 0U);
}

TEST(CpuPool, BlocksLieOnCacheLines) {
  const auto backend = make_cpu_backend(1);
  for (const std::size_t bytes : {1U, 1000U, 5U << 20}) {
    const PoolBlock block = backend->pool().allocate(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % 64, 0U);
  }
}

}  // namespace
}  // namespace trireme
