// Starting a kernel. The host side of every .cu file goes through here.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <tuple>
#include <utility>

#include "kernels/cuda/runtime.h"

namespace trireme::cuda {

/// kernel<<<grid, block, 0, stream>>>(arguments...), checked. Arguments are converted to the kernel's parameter types.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream, Arguments&&... arguments) {
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  std::apply(
      [&](Parameters&... value) {
        std::array<void*, sizeof...(Parameters)> pointers{&value...};
        TRIREME_CUDA(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers.data(), 0, stream));
      },
      values);
}

/// Blocks of `threads` that cover `count`, at most `limit`: kernels go over the rest in strides of the grid.
inline unsigned blocks_for(std::int64_t count, int threads, std::int64_t limit = std::int64_t{1} << 20) {
  return static_cast<unsigned>(std::clamp<std::int64_t>((count + threads - 1) / threads, 1, limit));
}

}  // namespace trireme::cuda
