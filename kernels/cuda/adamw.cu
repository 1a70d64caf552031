#include "kernels/adamw_step.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

struct Adamw {
  AdamwStep step;
  GradientScale gradient_scale;
  float* value;
  float* gradient;
  float* first;
  float* second;
  __nv_bfloat16* working;          ///< null: no copy
  const std::int32_t* decay_mask;  ///< null: all elements decay
  bool direction_only;             ///< the direction takes the gradient's place
  template <int width>
  struct Inputs {
    Piece<float, width> value, gradient, first, second;
  };
  template <int width>
  __device__ Inputs<width> load(std::int64_t at) const {
    return {load_piece<width>(value + at), load_piece<width>(gradient + at), load_piece<width>(first + at),
            load_piece<width>(second + at)};
  }
  template <int width>
  __device__ void store(std::int64_t at, Inputs<width> in) const {
    const float scale = gradient_scale.get();
    const float decay = decays(decay_mask, at) ? step.decay : 0.0F;  // a bit is for 16 elements, so a piece has one
    Piece<__nv_bfloat16, width> copy;
    for (int i = 0; i < width; ++i) {
      const float g = in.gradient.values[i] * scale;
      const float m = step.beta1 * in.first.values[i] + step.rest1 * g;
      const float v = step.beta2 * in.second.values[i] + step.rest2 * g * g;
      in.first.values[i] = m;
      in.second.values[i] = v;
      const float denominator = sqrtf(v) * step.root_correction + step.epsilon;
      in.gradient.values[i] = step.rate * m / denominator + decay * in.value.values[i];
      in.value.values[i] -= in.gradient.values[i];
      copy.values[i] = from_f32<__nv_bfloat16>(in.value.values[i]);
    }
    store_piece(first + at, in.first);
    store_piece(second + at, in.second);
    if (direction_only) return store_piece(gradient + at, in.gradient);
    store_piece(value + at, in.value);
    if (working != nullptr) store_piece(working + at, copy);
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::adamw(const AdamwArgs& args) {
  const std::int64_t count = args.value.elements();
  expect_elements("adamw gradient", args.gradient, count);
  expect_elements("adamw first_moment", args.first_moment, count);
  expect_elements("adamw second_moment", args.second_moment, count);
  if (!args.working.empty()) expect_elements("adamw working", args.working, count);
  if (!args.decay_mask.empty()) expect_elements("adamw decay_mask", args.decay_mask, (count + 511) / 512);
  const Adamw operation = {.step = AdamwStep(args),
                           .gradient_scale = GradientScale(args),
                           .value = writable<float>(args.value),
                           .gradient = writable<float>(args.gradient),
                           .first = writable<float>(args.first_moment),
                           .second = writable<float>(args.second_moment),
                           .working = writable<__nv_bfloat16>(args.working),
                           .decay_mask = args.decay_mask.empty() ? nullptr : args.decay_mask.data<std::int32_t>(),
                           .direction_only = args.direction_only};
  const bool packed =
      at_packs({operation.value, operation.gradient, operation.first, operation.second, operation.working});
  for_elements<Pack<float>::size>(state_->compute.get(), count, packed, operation);
}

}  // namespace trireme
