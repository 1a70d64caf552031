#include <cmath>

#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

/// Column i of cosines and sines [time, half], of position * base^(-i / half); in f64, as positions may be large.
void fill_angles(const RotaryArgs& args, std::int64_t time, std::int64_t half, std::int64_t i, float* cosines,
                 float* sines) {
  const double frequency =
      std::pow(static_cast<double>(args.base), -static_cast<double>(i) / static_cast<double>(half));
  for (std::int64_t t = 0; t < time; ++t) {
    const double angle = static_cast<double>(args.first_position + t) * frequency;
    cosines[t * half + i] = static_cast<float>(std::cos(angle));
    sines[t * half + i] = static_cast<float>(args.inverse ? -std::sin(angle) : std::sin(angle));
  }
}

template <typename T>
void rotate_head(T* head, const float* cosines, const float* sines, std::int64_t half) {
#pragma omp simd
  for (std::int64_t i = 0; i < half; ++i) {
    const float x = load(head[i]);
    const float y = load(head[half + i]);
    store(head[i], x * cosines[i] - y * sines[i]);
    store(head[half + i], y * cosines[i] + x * sines[i]);
  }
}

}  // namespace

void CpuBackend::rotary(const RotaryArgs& args) {
  const Shape& shape = args.qkv.shape();
  const std::int64_t row_elements = static_cast<std::int64_t>(args.heads + 2 * args.key_value_heads) * args.head_size;
  if (shape.rank() != 3 || shape[2] != row_elements || args.head_size % 2 != 0)
    fail("rotary: qkv {} does not hold {} query and 2 x {} key and value heads of {} (which must be even)",
         shape.to_string(), args.heads, args.key_value_heads, args.head_size);
  const std::int64_t time = shape[1];
  const std::int64_t half = args.head_size / 2;
  Tensor angles = allocate({2, time, half}, DType::f32);
  auto* cosines = angles.data<float>();
  float* sines = cosines + time * half;
  for_rows(state_->threads, half, time, [&](std::int64_t i) { fill_angles(args, time, half, i, cosines, sines); });
  Tensor qkv = args.qkv;
  for_type(qkv.dtype(), [&](auto type) {
    auto* data = qkv.data<decltype(type)>();
    for_rows(state_->threads, shape[0] * time, row_elements, [&](std::int64_t row) {
      const std::int64_t at = row % time * half;
      for (std::int64_t head = 0; head < args.heads + args.key_value_heads; ++head)
        rotate_head(data + row * row_elements + head * args.head_size, cosines + at, sines + at, half);
    });
  });
}

}  // namespace trireme
