// Takes the place of kernels/cuda/launch.h in the emulation: kernels are functions that fibers run.
#pragma once

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>

#include "kernels/cuda/runtime.h"
#include "tests/emulation/emulation.h"

namespace trireme::cuda {

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream, Arguments&&... arguments) {
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  emulation::enqueue(stream, [=] { emulation::run_grid(grid, block, [&] { std::apply(kernel, values); }); });
}

inline unsigned blocks_for(std::int64_t count, int threads, std::int64_t limit = std::int64_t{1} << 20) {
  return static_cast<unsigned>(std::clamp<std::int64_t>((count + threads - 1) / threads, 1, limit));
}

}  // namespace trireme::cuda
