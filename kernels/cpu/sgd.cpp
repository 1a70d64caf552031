#include "kernels/cpu/optimizer.h"
#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"
#include "kernels/segments.h"

namespace trireme {
namespace {

/// Raw pointers into the arenas; null where there is none.
struct Arenas {
  float* value;
  const float* gradient;
  float* velocity;
  bfloat16* working;
};

/// What all elements of a tile share.
struct Step {
  float gradient_scale, decay;  ///< both times the tile's rate
  float learning_rate, momentum;
  float fresh, kept;  ///< shares of the gradient and of the velocity in what is taken from the value
};

void step_tile(const Arenas& arenas, const Step& step, std::int64_t first, std::int64_t last) {
  // One by one: clang's OpenMP takes no structured bindings.
  auto* const value = arenas.value;
  const auto* const gradient = arenas.gradient;
  auto* const velocity = arenas.velocity;
  auto* const working = arenas.working;
  if (velocity != nullptr) {
#pragma omp simd
    for (std::int64_t i = first; i < last; ++i) {
      const float g = step.gradient_scale * gradient[i] + step.decay * value[i];
      velocity[i] = step.momentum * velocity[i] + g;
      value[i] -= step.learning_rate * (step.fresh * g + step.kept * velocity[i]);
    }
  } else {
#pragma omp simd
    for (std::int64_t i = first; i < last; ++i)
      value[i] -= step.learning_rate * (step.gradient_scale * gradient[i] + step.decay * value[i]);
  }
  if (working == nullptr) return;
#pragma omp simd
  for (std::int64_t i = first; i < last; ++i) store(working[i], value[i]);
}

/// Rate of a segment: see SgdArgs.
double rate_of(const SgdArgs& args, std::int32_t segment, double gradient_scale, double decay) {
  if (args.value_squares.empty()) return 1.0;
  const double value = std::sqrt(args.value_squares.data<double>()[segment]);
  const double gradient = gradient_scale * std::sqrt(args.gradient_squares.data<double>()[segment]);
  return value > 0.0 && gradient > 0.0 ? args.trust_coefficient * value / (gradient + decay * value) : 1.0;
}

}  // namespace

void CpuBackend::add_segment_squares(const Tensor& x, const Tensor& tiles, Tensor out) {
  expect_tiles(tiles);
  const std::int64_t count = tiles.shape().rows();
  const auto* table = reinterpret_cast<const SegmentTile*>(tiles.data<std::int32_t>());
  const float* values = x.data<float>();
  Tensor scratch = allocate({count}, DType::f64);
  double* partial = scratch.data<double>();
  for_blocks(state_->threads, count, 1, [=](std::int64_t number, std::int64_t /*end*/) {
    const SegmentTile& tile = table[number];
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = tile.first; i < tile.first + tile.count; ++i)
      sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    partial[number] = sum;
  });
  for (std::int64_t number = 0; number < count; ++number) out.data<double>()[table[number].segment] += partial[number];
}

void CpuBackend::sgd(const SgdArgs& args) {
  expect_fitting(args);
  SgdArgs a = args;
  const Arenas arenas = {a.value.data<float>(), args.gradient.data<float>(), data_or_null<float>(a.velocity),
                         data_or_null<bfloat16>(a.working)};
  const std::int32_t* mask = data_or_null<std::int32_t>(args.decay_mask);
  const auto* table = reinterpret_cast<const SegmentTile*>(args.tiles.data<std::int32_t>());
  const float gradient_scale = gradient_scale_of(args);
  for_blocks(state_->threads, args.tiles.shape().rows(), 1, [&](std::int64_t number, std::int64_t /*end*/) {
    const SegmentTile& tile = table[number];
    const double decay = decays(mask, tile.first) ? args.weight_decay : 0.0;
    const auto rate = static_cast<float>(rate_of(args, tile.segment, gradient_scale, decay));
    step_tile(arenas,
              {.gradient_scale = rate * gradient_scale,
               .decay = rate * static_cast<float>(decay),
               .learning_rate = static_cast<float>(args.learning_rate),
               .momentum = static_cast<float>(args.momentum),
               .fresh = args.nesterov ? 1.0F : 0.0F,
               .kept = args.nesterov ? static_cast<float>(args.momentum) : 1.0F},
              tile.first, tile.first + tile.count);
  });
}

}  // namespace trireme
