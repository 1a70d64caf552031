// What the optimizers' passes over the arenas share. For .cu files.
#pragma once

#include "kernels/cuda/device.h"

namespace trireme::cuda {

/// What the gradient is multiplied by before it is used: scaling and clipping.
struct GradientScale {
  double scale;
  const double* norm_squared;  ///< null: no clipping
  double clip_norm;

  /// Args: AdamwArgs or SgdArgs.
  template <typename Args>
  explicit GradientScale(const Args& args)
      : scale(args.gradient_scale),
        norm_squared(args.gradient_norm_squared.empty() || args.clip_norm <= 0.0
                         ? nullptr
                         : args.gradient_norm_squared.template data<double>()),
        clip_norm(args.clip_norm) {}

  __device__ __forceinline__ float get() const {
    if (norm_squared == nullptr) return static_cast<float>(scale);
    const double norm = sqrt(*norm_squared);
    return static_cast<float>(norm > clip_norm ? scale * (clip_norm / norm) : scale);
  }
};

/// Whether weight decay applies to an element. mask: a bit for each 16 elements, or null: to all.
__device__ __forceinline__ bool decays(const std::int32_t* mask, std::int64_t element) {
  return mask == nullptr || (static_cast<unsigned>(mask[element / 512]) >> (element / 16 % 32) & 1U) != 0;
}

}  // namespace trireme::cuda
