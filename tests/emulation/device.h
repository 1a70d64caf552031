// Forced in front of every .cu file that g++ compiles for the emulation: CUDA's words for device code, in plain C++.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#undef __restrict__
#undef __syncthreads
#define __global__
#define __device__
#define __host__
#define __shared__ static  // one block runs at a time
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

namespace trireme::emulation {

/// The thread that runs now.
struct ThreadContext {
  uint3 thread{}, block{};
  dim3 block_size, grid_size;
};
extern ThreadContext current;

void block_barrier();
void warp_barrier(unsigned mask);
/// 8 bytes a lane for exchange within the current thread's warp.
std::uint64_t* warp_slots();
int lane();
constexpr int no_lane = -1;

/// The value that lane `source(lane)` brought; a thread's own where that is no_lane.
template <typename T, typename Source>
T shuffle(unsigned mask, T value, Source source) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t* slots = warp_slots();
  std::memcpy(&slots[lane()], &value, sizeof(T));
  warp_barrier(mask);
  const int from = source(lane());
  T result = value;
  if (from != no_lane) std::memcpy(&result, &slots[from], sizeof(T));
  warp_barrier(mask);
  return result;
}

}  // namespace trireme::emulation

#define threadIdx (::trireme::emulation::current.thread)
#define blockIdx (::trireme::emulation::current.block)
#define blockDim (::trireme::emulation::current.block_size)
#define gridDim (::trireme::emulation::current.grid_size)
constexpr int warpSize = 32;

inline void __syncthreads() { trireme::emulation::block_barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffU) { trireme::emulation::warp_barrier(mask); }

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  return trireme::emulation::shuffle(mask, value, [=](int lane) { return lane / width * width + source % width; });
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  return trireme::emulation::shuffle(mask, value, [=](int lane) {
    const int from = lane ^ bits;
    return from / width == lane / width ? from : trireme::emulation::no_lane;
  });
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return trireme::emulation::shuffle(mask, value, [=](int lane) {
    const int from = lane + static_cast<int>(delta);
    return from / width == lane / width ? from : trireme::emulation::no_lane;
  });
}

inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0F / x; }
inline float __uint_as_float(unsigned bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
template <typename T>
T __ldg(const T* address) {
  return *address;
}
