// Loops over the elements of tensors at the speed of memory: every thread reads a few pieces of neighbouring elements,
// up to 16 bytes each, before it computes and writes.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"

namespace trireme::cuda {

/// The piece of zeros where there is no tensor.
template <int width, typename T>
__device__ __forceinline__ Piece<T, width> load_piece_or_zero(const T* tensor, std::int64_t at) {
  if (tensor == nullptr) return {};
  return load_piece<width>(tensor + at);
}

/// a / b for a >= 0, b > 0, of half the cost where both fit into 32 bits.
__device__ __forceinline__ std::int64_t quotient(std::int64_t a, std::int64_t b) {
  if (((a | b) >> 32) == 0) return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
  return a / b;
}

namespace elements_detail {

constexpr int threads = 256;
constexpr int pieces_a_thread = 2;

template <int width, typename Operation>
__global__ void __launch_bounds__(threads) run(Operation operation, std::int64_t count) {
  constexpr std::int64_t stride = threads * width;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * pieces_a_thread * threads + threadIdx.x) * width;
  if constexpr (width > 1) {
    const std::int64_t at = count - count % width + static_cast<std::int64_t>(threadIdx.x);  // what fills no piece
    if (blockIdx.x == gridDim.x - 1 && at < count) operation.store(at, operation.template load<1>(at));
  }
  if (first + (pieces_a_thread - 1) * stride + width <= count) {
    typename Operation::template Inputs<width> inputs[pieces_a_thread];
    unrolled<pieces_a_thread>([&](int i) { inputs[i] = operation.template load<width>(first + i * stride); });
    unrolled<pieces_a_thread>([&](int i) { operation.store(first + i * stride, inputs[i]); });
    return;
  }
  for (std::int64_t at = first; at + width <= count && at < first + pieces_a_thread * stride; at += stride)
    operation.store(at, operation.template load<width>(at));
}

}  // namespace elements_detail

/// Runs `operation`, copied to the device, over `count` elements, `width` at a time where `packed` says that it may,
/// else one by one. No thread touches an element of another, so outputs may be inputs:
///   struct Operation {
///     template <int width> struct Inputs { ... };  // pieces, by value
///     template <int width> __device__ Inputs<width> load(std::int64_t at) const;
///     template <int width> __device__ void store(std::int64_t at, const Inputs<width>& inputs) const;
///   };
template <int width, typename Operation>
void for_elements(cudaStream_t stream, std::int64_t count, bool packed, const Operation& operation) {
  using namespace elements_detail;
  if (count == 0) return;
  const std::int64_t elements_a_block = std::int64_t{threads} * pieces_a_thread * (packed ? width : 1);
  const dim3 grid(static_cast<unsigned>((count + elements_a_block - 1) / elements_a_block));
  launch(packed ? run<width, Operation> : run<1, Operation>, grid, dim3(threads), stream, operation, count);
}

}  // namespace trireme::cuda
