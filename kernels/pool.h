// Memory pool: a training step at steady state takes all its memory from here and none from the system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace trireme {

class MemoryPool;

/// Where a pool takes its memory: host memory, pinned host memory, a device.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  /// Memory aligned to at least 64 bytes; throws Error naming the size when there is none.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory, std::size_t bytes) noexcept = 0;
};

/// Host memory on cache-line boundaries, large blocks on huge pages.
std::unique_ptr<MemorySource> make_host_memory();

/// A counted reference to one block of a pool. The last reference gives the block back.
class PoolBlock {
 public:
  PoolBlock() = default;
  PoolBlock(const PoolBlock& other) noexcept;
  PoolBlock(PoolBlock&& other) noexcept;
  PoolBlock& operator=(PoolBlock other) noexcept;
  ~PoolBlock();

  explicit operator bool() const { return node_ != nullptr; }
  void* data() const;

 private:
  friend class MemoryPool;
  struct Node;
  explicit PoolBlock(Node* node) noexcept : node_(node) {}
  Node* node_ = nullptr;
};

/// Counters of a pool, in bytes unless they say otherwise.
struct PoolStatistics {
  std::int64_t system_allocations = 0;  ///< calls to the memory source since the pool was made
  std::size_t bytes_in_use = 0;
  std::size_t peak_bytes_in_use = 0;
  std::size_t bytes_held = 0;  ///< taken from the source, in use or free
};

/// What becomes of free blocks.
enum class FreeBlocks {
  fit,  ///< are handed out where at most an eighth is wasted; go back to a source that has no more
  keep  ///< are handed out where they are large enough; stay, as recorded work may use them without asking
};

/// Blocks of the sizes asked for before are kept and handed out again, the best fit among the free ones first. When
/// the source has no more, free blocks go back to it before the allocation fails. Safe to use from several threads.
/// Every block must be returned before the pool is destroyed.
class MemoryPool {
 public:
  explicit MemoryPool(std::unique_ptr<MemorySource> source, FreeBlocks policy = FreeBlocks::fit);
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  PoolBlock allocate(std::size_t bytes);
  PoolStatistics statistics() const;
  /// Gives all free blocks back to the source.
  void trim();

 private:
  friend class PoolBlock;
  void take_back(PoolBlock::Node* node) noexcept;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
