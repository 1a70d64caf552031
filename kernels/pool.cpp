#include "kernels/pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace trireme {
namespace {

constexpr std::size_t granularity = 256;

std::size_t rounded(std::size_t bytes) {
  return std::max(granularity, (bytes + granularity - 1) / granularity * granularity);
}

}  // namespace

struct PoolBlock::Node {
  void* memory = nullptr;
  std::size_t bytes = 0;
  std::atomic<int> references{0};
  MemoryPool* pool = nullptr;
};

PoolBlock::PoolBlock(const PoolBlock& other) noexcept : node_(other.node_) {
  if (node_) node_->references.fetch_add(1, std::memory_order_relaxed);
}

PoolBlock::PoolBlock(PoolBlock&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}

PoolBlock& PoolBlock::operator=(PoolBlock other) noexcept {
  std::swap(node_, other.node_);
  return *this;
}

PoolBlock::~PoolBlock() {
  if (node_ && node_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) node_->pool->take_back(node_);
}

void* PoolBlock::data() const { return node_ ? node_->memory : nullptr; }

struct MemoryPool::State {
  std::unique_ptr<MemorySource> source;
  FreeBlocks policy = FreeBlocks::fit;
  mutable std::mutex mutex;
  // Free blocks by size. A map node moves between this and `spare`, so that reuse costs no heap memory either.
  using BlocksBySize = std::multimap<std::size_t, PoolBlock::Node*>;
  BlocksBySize free;
  std::vector<BlocksBySize::node_type> spare;
  PoolStatistics statistics;

  void release_free() {
    for (const auto& [bytes, node] : free) {
      source->release(node->memory, bytes);
      statistics.bytes_held -= bytes;
      delete node;
    }
    free.clear();
  }

  /// When the source has no more, free blocks of other sizes go back to it first.
  void* take_from_source(std::size_t bytes) {
    try {
      return source->allocate(bytes);
    } catch (const std::exception&) {
      if (free.empty() || policy == FreeBlocks::keep) throw;
    }
    release_free();
    return source->allocate(bytes);
  }
};

MemoryPool::MemoryPool(std::unique_ptr<MemorySource> source, FreeBlocks policy) : state_(std::make_unique<State>()) {
  state_->source = std::move(source);
  state_->policy = policy;
}

MemoryPool::~MemoryPool() { trim(); }

PoolBlock MemoryPool::allocate(std::size_t bytes) {
  const std::size_t wanted = rounded(bytes);
  const std::scoped_lock lock(state_->mutex);
  PoolBlock::Node* node = nullptr;
  const auto found = state_->free.lower_bound(wanted);
  const bool any_size = state_->policy == FreeBlocks::keep;
  if (found != state_->free.end() && (any_size || found->first <= wanted + wanted / 8)) {
    node = found->second;
    state_->spare.push_back(state_->free.extract(found));
  } else {
    auto made = std::make_unique<PoolBlock::Node>();
    made->memory = state_->take_from_source(wanted);
    node = made.release();
    node->bytes = wanted;
    node->pool = this;
    ++state_->statistics.system_allocations;
    state_->statistics.bytes_held += wanted;
  }
  node->references.store(1, std::memory_order_relaxed);
  auto& statistics = state_->statistics;
  statistics.bytes_in_use += node->bytes;
  statistics.peak_bytes_in_use = std::max(statistics.peak_bytes_in_use, statistics.bytes_in_use);
  return PoolBlock(node);
}

void MemoryPool::take_back(PoolBlock::Node* node) noexcept {
  const std::scoped_lock lock(state_->mutex);
  state_->statistics.bytes_in_use -= node->bytes;
  if (state_->spare.empty()) {
    state_->free.emplace(node->bytes, node);
    return;
  }
  auto handle = std::move(state_->spare.back());
  state_->spare.pop_back();
  handle.key() = node->bytes;
  handle.mapped() = node;
  state_->free.insert(std::move(handle));
}

PoolStatistics MemoryPool::statistics() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->statistics;
}

void MemoryPool::trim() {
  const std::scoped_lock lock(state_->mutex);
  state_->release_free();
}

}  // namespace trireme
