#include <cmath>

#include "kernels/adamw_step.h"
#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

/// What clipping multiplies the gradient by.
float gradient_scale_of(const AdamwArgs& args) {
  if (args.gradient_norm_squared.empty() || args.clip_norm <= 0.0) return 1.0F;
  const double norm = std::sqrt(*args.gradient_norm_squared.data<double>());
  return norm > args.clip_norm ? static_cast<float>(args.clip_norm / norm) : 1.0F;
}

}  // namespace

void CpuBackend::adamw(const AdamwArgs& args) {
  const std::int64_t count = args.value.elements();
  expect_elements("adamw gradient", args.gradient, count);
  expect_elements("adamw first_moment", args.first_moment, count);
  expect_elements("adamw second_moment", args.second_moment, count);
  if (!args.working.empty()) expect_elements("adamw working", args.working, count);
  if (!args.decay_mask.empty()) expect_elements("adamw decay_mask", args.decay_mask, (count + 511) / 512);
  AdamwArgs a = args;
  float* value = a.value.data<float>();
  const float* gradient = args.gradient.data<float>();
  float* first = a.first_moment.data<float>();
  float* second = a.second_moment.data<float>();
  bfloat16* working = data_or_null<bfloat16>(a.working);
  const std::int32_t* mask = data_or_null<std::int32_t>(args.decay_mask);
  const AdamwStep step(args);
  const float gradient_scale = gradient_scale_of(args);
  const auto update = [=](std::int64_t i, float decay) {
    const float g = gradient[i] * gradient_scale;
    const float m = step.beta1 * first[i] + step.rest1 * g;
    const float v = step.beta2 * second[i] + step.rest2 * g * g;
    first[i] = m;
    second[i] = v;
    const float denominator = std::sqrt(v) * step.root_correction + step.epsilon;
    return value[i] -= step.rate * m / denominator + decay * value[i];
  };
  constexpr std::int64_t group = 16;  // elements of one bit of the mask
  for_elements(state_->threads, count, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t from = begin; from < end; from += group) {
      const std::int64_t last = std::min(end, from + group);
      const std::int64_t bit = from / group;
      const bool decays = mask == nullptr || (static_cast<std::uint32_t>(mask[bit / 32]) >> (bit % 32) & 1U) != 0;
      const float decay = decays ? step.decay : 0.0F;
      if (working != nullptr) {
#pragma omp simd
        for (std::int64_t i = from; i < last; ++i) store(working[i], update(i, decay));
      } else {
#pragma omp simd
        for (std::int64_t i = from; i < last; ++i) update(i, decay);
      }
    }
  });
}

}  // namespace trireme
