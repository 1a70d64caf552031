// What our kernels share: element types, 16-byte accesses, sums over warps and blocks in a fixed order. For .cu files,
// which never include kernels/error.h: nvcc does not take fmt's compile-time formats.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/runtime.h"
#include "kernels/tensor.h"

namespace trireme::cuda {

constexpr unsigned whole_warp = 0xffffffffU;
constexpr int warp_size = 32;

__device__ __forceinline__ float to_f32(float value) { return value; }
__device__ __forceinline__ float to_f32(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename T>
__device__ __forceinline__ T from_f32(float value);
template <>
__device__ __forceinline__ float from_f32<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_f32<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

/// 16 bytes of elements: what one thread reads or writes at once. The address must be a multiple of 16.
template <typename T>
struct alignas(16) Pack {
  static constexpr int size = 16 / static_cast<int>(sizeof(T));
  T values[size];
};

template <typename T>
__device__ __forceinline__ Pack<T> load_pack(const T* address) {
  return *reinterpret_cast<const Pack<T>*>(address);
}
template <typename T>
__device__ __forceinline__ void store_pack(T* address, const Pack<T>& pack) {
  *reinterpret_cast<Pack<T>*>(address) = pack;
}

/// Sum over the lanes of a warp; every lane gets it, always added in the same order.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int bits = warp_size / 2; bits > 0; bits /= 2) value += __shfl_xor_sync(whole_warp, value, bits);
  return value;
}
/// NaN wins: a diverged value must be seen.
__device__ __forceinline__ float larger(float a, float b) { return a > b || a != a ? a : b; }
__device__ __forceinline__ float warp_maximum(float value) {
  for (int bits = warp_size / 2; bits > 0; bits /= 2) value = larger(value, __shfl_xor_sync(whole_warp, value, bits));
  return value;
}

/// Sum over a block of `threads` (a multiple of 32, one-dimensional); every thread gets it. All threads must call it.
template <int threads, typename T>
__device__ __forceinline__ T block_sum(T value) {
  __shared__ T partial[threads / warp_size];
  value = warp_sum(value);
  if (threads == warp_size) return value;
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // the memory may still be read from the call before
  if (thread % warp_size == 0) partial[thread / warp_size] = value;
  __syncthreads();
  T total = partial[0];
  for (int warp = 1; warp < threads / warp_size; ++warp) total += partial[warp];
  return total;
}
template <int threads>
__device__ __forceinline__ float block_maximum(float value) {
  __shared__ float partial[threads / warp_size];
  value = warp_maximum(value);
  if (threads == warp_size) return value;
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  if (thread % warp_size == 0) partial[thread / warp_size] = value;
  __syncthreads();
  float total = partial[0];
  for (int warp = 1; warp < threads / warp_size; ++warp) total = larger(total, partial[warp]);
  return total;
}

/// Number of this thread in the grid, and of threads in the grid, for loops with one-dimensional blocks.
__device__ __forceinline__ std::int64_t global_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t global_threads() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

/// Elements as kernels see them.
inline const __nv_bfloat16* device_pointer(const Tensor& tensor, __nv_bfloat16 /*tag*/) {
  return reinterpret_cast<const __nv_bfloat16*>(tensor.data<bfloat16>());
}
inline const float* device_pointer(const Tensor& tensor, float /*tag*/) { return tensor.data<float>(); }

/// Pointer to the elements of a tensor of the kernel's type T; null for an empty tensor; throws on another type.
template <typename T>
const T* elements_of(const Tensor& tensor) {
  return tensor.empty() ? nullptr : device_pointer(tensor, T{});
}
template <typename T>
T* writable(const Tensor& tensor) {
  return const_cast<T*>(elements_of<T>(tensor));
}

/// Calls `function(tag)` with a tag of the working type, float or __nv_bfloat16.
template <typename Function>
void for_type(DType type, Function function) {
  if (type == DType::f32) return function(float{});
  if (type == DType::bf16) return function(__nv_bfloat16{});
  wrong_type("fp32 or bf16", type);
}

/// True where rows of `columns` elements of T that begin at 16-byte addresses all do.
template <typename T>
bool packs(std::int64_t columns) {
  return columns % Pack<T>::size == 0;
}

}  // namespace trireme::cuda
