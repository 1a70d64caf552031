// LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019). A row stays in the first-level cache between the
// passes over it, so memory is read and written once.
#include <cmath>
#include <utility>

#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

template <typename T>
void add_rows(const T* x, const T* y, T* out, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) store(out[i], load(x[i]) + load(y[i]));
}

template <typename T>
float mean_of(const T* x, std::int64_t n) {
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += load(x[i]);
  return sum / static_cast<float>(n);
}

template <typename T>
float mean_square_around(const T* x, float center, std::int64_t n) {
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += (load(x[i]) - center) * (load(x[i]) - center);
  return sum / static_cast<float>(n);
}

template <typename T>
void normalise(const T* x, float mean, float scale, const T* weight, const T* bias, T* y, std::int64_t n) {
  if (bias != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) store(y[i], (load(x[i]) - mean) * scale * load(weight[i]) + load(bias[i]));
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) store(y[i], (load(x[i]) - mean) * scale * load(weight[i]));
  }
}

/// dx = scale * (g - mean(g) - x' mean(g x')) with g = dy * weight and x' the normalised row; RMSNorm has no mean(g).
template <typename T>
void backward_row(NormKind kind, const T* x, const T* dy, const T* weight, float mean, float scale, const T* residual,
                  T* dx, std::int64_t n) {
  float sum = 0.0F;
  float product = 0.0F;
#pragma omp simd reduction(+ : sum, product)
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = load(dy[i]) * load(weight[i]);
    sum += g;
    product += g * ((load(x[i]) - mean) * scale);
  }
  const float center = kind == NormKind::layer ? sum / static_cast<float>(n) : 0.0F;
  const float slope = product / static_cast<float>(n);
  const auto gradient = [=](std::int64_t i) {
    const float normal = (load(x[i]) - mean) * scale;
    return scale * (load(dy[i]) * load(weight[i]) - center - normal * slope);
  };
  if (residual != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) store(dx[i], gradient(i) + load(residual[i]));
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) store(dx[i], gradient(i));
  }
}

template <typename T>
void add_weight_row(const T* x, const T* dy, float mean, float scale, float* dweight, float* dbias, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    dweight[i] += load(dy[i]) * ((load(x[i]) - mean) * scale);
    dbias[i] += load(dy[i]);
  }
}

/// Rows are cut into this many parts at most, whatever the number of threads, so that sums have one order.
constexpr std::int64_t weight_parts = 64;

}  // namespace

void CpuBackend::norm(const NormArgs& args) {
  const std::int64_t rows = args.x.shape().rows();
  const std::int64_t n = args.x.shape().columns();
  expect_elements("norm y", args.y, rows * n);
  expect_elements("norm weight", args.weight, n);
  expect_elements("norm inverse_deviation", args.inverse_deviation, rows);
  if (args.kind == NormKind::layer) expect_elements("norm mean", args.mean, rows);
  if (!args.residual.empty()) expect_elements("norm residual", args.residual, rows * n);
  if (!args.residual.empty()) expect_elements("norm sum", args.sum, rows * n);
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    NormArgs a = args;
    const T* x = a.x.data<T>();
    const T* weight = std::as_const(a.weight).data<T>();
    const T* residual = data_or_null<T>(std::as_const(a.residual));
    const T* bias = data_or_null<T>(std::as_const(a.bias));
    T* sum = residual != nullptr ? a.sum.data<T>() : nullptr;
    T* y = a.y.data<T>();
    float* means = a.kind == NormKind::layer ? a.mean.data<float>() : nullptr;
    float* scales = a.inverse_deviation.data<float>();
    for_rows(state_->threads, rows, n, [&](std::int64_t row) {
      const T* in = x + row * n;
      if (residual != nullptr) {
        add_rows(in, residual + row * n, sum + row * n, n);
        in = sum + row * n;  // the rounded sum, which is what the backward pass will see
      }
      const float mean = means != nullptr ? mean_of(in, n) : 0.0F;
      const float scale = 1.0F / std::sqrt(mean_square_around(in, mean, n) + a.epsilon);
      if (means != nullptr) means[row] = mean;
      scales[row] = scale;
      normalise(in, mean, scale, weight, bias, y + row * n, n);
    });
  });
}

void CpuBackend::norm_backward_input(const NormBackwardInputArgs& args) {
  const std::int64_t rows = args.x.shape().rows();
  const std::int64_t n = args.x.shape().columns();
  expect_elements("norm dy", args.dy, rows * n);
  expect_elements("norm dx", args.dx, rows * n);
  if (!args.residual_gradient.empty()) expect_elements("norm residual_gradient", args.residual_gradient, rows * n);
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    NormBackwardInputArgs a = args;
    const T* x = a.x.data<T>();
    const T* dy = a.dy.data<T>();
    const T* weight = a.weight.data<T>();
    const T* residual = data_or_null<T>(std::as_const(a.residual_gradient));
    const float* means = a.kind == NormKind::layer ? a.mean.data<float>() : nullptr;
    const float* scales = a.inverse_deviation.data<float>();
    T* dx = a.dx.data<T>();
    for_rows(state_->threads, rows, n, [&](std::int64_t row) {
      const std::int64_t at = row * n;
      backward_row(a.kind, x + at, dy + at, weight, means != nullptr ? means[row] : 0.0F, scales[row],
                   residual != nullptr ? residual + at : nullptr, dx + at, n);
    });
  });
}

void CpuBackend::norm_backward_weight(const NormBackwardWeightArgs& args) {
  const std::int64_t rows = args.x.shape().rows();
  const std::int64_t n = args.x.shape().columns();
  expect_elements("norm dy", args.dy, rows * n);
  expect_elements("norm dweight", args.dweight, n);
  if (!args.dbias.empty()) expect_elements("norm dbias", args.dbias, n);
  if (rows == 0) return;
  const std::int64_t rows_per_part = std::max<std::int64_t>(16, (rows + weight_parts - 1) / weight_parts);
  const std::int64_t parts = (rows + rows_per_part - 1) / rows_per_part;
  Tensor scratch = allocate({parts, 2, n}, DType::f32);
  float* partial = scratch.data<float>();
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* x = args.x.data<T>();
    const T* dy = args.dy.data<T>();
    const float* means = args.kind == NormKind::layer ? args.mean.data<float>() : nullptr;
    const float* scales = args.inverse_deviation.data<float>();
    for_blocks(state_->threads, rows, rows_per_part, [&](std::int64_t begin, std::int64_t end) {
      float* dweight = partial + begin / rows_per_part * 2 * n;
      std::fill_n(dweight, 2 * n, 0.0F);
      for (std::int64_t row = begin; row < end; ++row)
        add_weight_row(x + row * n, dy + row * n, means != nullptr ? means[row] : 0.0F, scales[row], dweight,
                       dweight + n, n);
    });
  });
  NormBackwardWeightArgs a = args;
  float* dweight = a.dweight.data<float>();
  float* dbias = data_or_null<float>(a.dbias);
  for_blocks(state_->threads, n, 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = 0; part < parts; ++part) {
      const float* from = partial + part * 2 * n;
      for (std::int64_t i = begin; i < end; ++i) dweight[i] += from[i];
      if (dbias == nullptr) continue;
      for (std::int64_t i = begin; i < end; ++i) dbias[i] += from[n + i];
    }
  });
}

}  // namespace trireme
