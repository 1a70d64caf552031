#include <cmath>

#include "kernels/adamw_step.h"
#include "kernels/cpu/optimizer.h"
#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"

namespace trireme {

void CpuBackend::adamw(const AdamwArgs& args) {
  const std::int64_t count = args.value.elements();
  expect_elements("adamw gradient", args.gradient, count);
  expect_elements("adamw first_moment", args.first_moment, count);
  expect_elements("adamw second_moment", args.second_moment, count);
  if (!args.working.empty()) expect_elements("adamw working", args.working, count);
  if (!args.decay_mask.empty()) expect_elements("adamw decay_mask", args.decay_mask, (count + 511) / 512);
  AdamwArgs a = args;
  float* value = a.value.data<float>();
  float* gradient = a.gradient.data<float>();
  float* first = a.first_moment.data<float>();
  float* second = a.second_moment.data<float>();
  bfloat16* working = data_or_null<bfloat16>(a.working);
  const std::int32_t* mask = data_or_null<std::int32_t>(args.decay_mask);
  const AdamwStep step(args);
  const float gradient_scale = gradient_scale_of(args);
  const auto direction = [=](std::int64_t i, float decay) {
    const float g = gradient[i] * gradient_scale;
    const float m = step.beta1 * first[i] + step.rest1 * g;
    const float v = step.beta2 * second[i] + step.rest2 * g * g;
    first[i] = m;
    second[i] = v;
    const float denominator = std::sqrt(v) * step.root_correction + step.epsilon;
    return step.rate * m / denominator + decay * value[i];
  };
  constexpr std::int64_t group = 16;  // elements of one bit of the mask
  for_elements(state_->threads, count, [=, direction_only = args.direction_only](std::int64_t begin, std::int64_t end) {
    for (std::int64_t from = begin; from < end; from += group) {
      const std::int64_t last = std::min(end, from + group);
      const float decay = decays(mask, from) ? step.decay : 0.0F;
      if (direction_only) {
#pragma omp simd
        for (std::int64_t i = from; i < last; ++i) gradient[i] = direction(i, decay);
      } else if (working != nullptr) {
#pragma omp simd
        for (std::int64_t i = from; i < last; ++i) store(working[i], value[i] -= direction(i, decay));
      } else {
#pragma omp simd
        for (std::int64_t i = from; i < last; ++i) value[i] -= direction(i, decay);
      }
    }
  });
}

}  // namespace trireme
