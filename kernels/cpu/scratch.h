// Work in items that threads take one by one, each thread on memory of its own.
#pragma once

#include <omp.h>

#include <cstdint>

#include "kernels/pool.h"

namespace trireme {

/// Hands out parts of one thread's scratch memory, in whole cache lines.
class Scratch {
 public:
  explicit Scratch(float* memory) : next_(memory) {}
  float* take(std::int64_t floats) {
    float* taken = next_;
    next_ += rounded(floats);
    return taken;
  }
  static std::int64_t rounded(std::int64_t floats) { return (floats + 15) / 16 * 16; }

 private:
  float* next_;
};

/// Runs all items of a pass, each thread on scratch memory of its own.
template <typename Pass>
void run_all(const Pass& pass, int threads, MemoryPool& pool) {
  const std::int64_t floats = Scratch::rounded(pass.scratch_floats());
  const PoolBlock block = pool.allocate(static_cast<std::size_t>(threads * floats) * sizeof(float));
  auto* memory = static_cast<float*>(block.data());
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (std::int64_t item = 0; item < pass.items(); ++item) pass.run(item, memory + omp_get_thread_num() * floats);
}

}  // namespace trireme
