// What the steps of batch normalisation share. For .cu files.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/rows.h"

namespace trireme::cuda {

/// to = `width` neighbouring elements, in accesses of up to 16 bytes.
template <int width, typename T>
__device__ __forceinline__ void load_floats(const T* from, float (&to)[width]) {
  constexpr int step = width < Pack<T>::size ? width : Pack<T>::size;
  for (int first = 0; first < width; first += step) {
    const auto piece = load_piece<step>(from + first);
    for (int i = 0; i < step; ++i) to[first + i] = to_f32(piece.values[i]);
  }
}

/// Gradient before the ReLU, of which y is the output; null: there was none. NaN lets through, as it did forward.
template <int width, typename T>
__device__ __forceinline__ Piece<T, width> before_relu(const T* dy, const T* y, std::int64_t at) {
  auto gradient = load_piece<width>(dy + at);
  if (y == nullptr) return gradient;
  const auto out = load_piece<width>(y + at);
  for (int i = 0; i < width; ++i)
    if (to_f32(out.values[i]) <= 0.0F) gradient.values[i] = from_f32<T>(0.0F);
  return gradient;
}

}  // namespace trireme::cuda
