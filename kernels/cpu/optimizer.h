// What the optimizers' passes over the arenas share.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/tensor.h"

namespace trireme {

/// What scaling and clipping multiply the gradient by. Args: AdamwArgs or SgdArgs.
template <typename Args>
float gradient_scale_of(const Args& args) {
  if (args.gradient_norm_squared.empty() || args.clip_norm <= 0.0) return static_cast<float>(args.gradient_scale);
  const double norm = std::sqrt(*args.gradient_norm_squared.template data<double>());
  return static_cast<float>(norm > args.clip_norm ? args.gradient_scale * (args.clip_norm / norm)
                                                  : args.gradient_scale);
}

/// Whether weight decay applies to an element. mask: a bit for each 16 elements, or null: to all.
inline bool decays(const std::int32_t* mask, std::int64_t element) {
  const std::int64_t bit = element / 16;
  return mask == nullptr || (static_cast<std::uint32_t>(mask[bit / 32]) >> (bit % 32) & 1U) != 0;
}

}  // namespace trireme
