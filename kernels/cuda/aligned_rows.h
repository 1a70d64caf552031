// Rows of any length, which begin at any element: packs of 16 bytes lie between a few single elements. For .cu files.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/device.h"

namespace trireme::cuda {

constexpr int batch_packs = 4;                ///< 16-byte accesses that a thread has under way
constexpr std::int64_t longest_short = 2048;  ///< elements of a row that a warp takes; longer ones get a block

/// A row cut at 16-byte addresses.
template <typename T>
struct AlignedRow {
  std::int64_t head;   ///< single elements in front of the packs
  std::int64_t packs;  ///< they begin at element `head`
  std::int64_t edges;  ///< single elements at both ends

  __device__ __forceinline__ AlignedRow(const T* row, std::int64_t n) {
    const auto past = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(row) % sizeof(Pack<T>) / sizeof(T));
    const std::int64_t wanted = past == 0 ? 0 : Pack<T>::size - past;
    head = wanted < n ? wanted : n;
    packs = (n - head) / Pack<T>::size;
    edges = n - packs * Pack<T>::size;
  }
  /// The place of single element `edge` in the row.
  __device__ __forceinline__ std::int64_t place(std::int64_t edge) const {
    return edge < head ? edge : edge + packs * Pack<T>::size;
  }
};

/// body(count, first pack) for the packs of one of `group` threads: `count`, an integral constant, packs in strides of
/// the group, a batch at a time and then the rest one by one.
template <int group, typename Body>
__device__ __forceinline__ void for_batches(std::int64_t packs, Body body) {
  std::int64_t pack = threadIdx.x % group;
  for (; pack + (batch_packs - 1) * group < packs; pack += batch_packs * group)
    body(std::integral_constant<int, batch_packs>{}, pack);
  for (; pack < packs; pack += group) body(std::integral_constant<int, 1>{}, pack);
}

/// Calls function(group) with the threads that take a row of n elements, an integral constant.
template <typename Function>
void for_group(std::int64_t n, Function function) {
  if (n <= longest_short) return function(std::integral_constant<int, warp_size>{});
  function(std::integral_constant<int, 256>{});
}

}  // namespace trireme::cuda
