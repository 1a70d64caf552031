// LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019). A row is read once and stays in registers, so the
// variance is summed around the mean that is known by then.
#include "kernels/cuda/columns.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

template <typename T>
struct NormRows {
  std::int64_t rows, n;
  float epsilon;
  const T *x, *residual;
  T* sum;
  const T *weight, *bias;
  T* y;
  float *mean, *inverse_deviation;  ///< mean is null for RMSNorm
};

template <typename Share, typename T>
__global__ void __launch_bounds__(Share::threads, Share::least_blocks) norm_rows(NormRows<T> a) {
  const std::int64_t row = Share::row();
  if (row >= a.rows) return;
  const std::int64_t first = row * a.n;
  const auto count = static_cast<float>(a.n);
  RowPart<Share, T> x(a.x + first, a.n);
  if (a.residual != nullptr) {
    const RowPart<Share, T> residual(a.residual + first, a.n);
    Share::for_each(a.n, [&](int piece, std::int64_t column) {
      auto sum = x.get(piece, column);
      const auto other = residual.get(piece, column);
      for (int i = 0; i < Share::width; ++i)
        sum.values[i] = from_f32<T>(to_f32(sum.values[i]) + to_f32(other.values[i]));
      x.replace(piece, sum);  // the rounded sum, which is what the backward pass will see
      store_piece(a.sum + first + column, sum);
    });
    x.move_to(a.sum + first);
  }
  float mean = 0.0F;
  if (a.mean != nullptr) {
    Share::for_each(a.n, [&](int piece, std::int64_t column) {
      const auto values = x.get(piece, column);
      for (int i = 0; i < Share::width; ++i) mean += to_f32(values.values[i]);
    });
    mean = block_sum<Share::group>(mean) / count;
  }
  float squares = 0.0F;
  Share::for_each(a.n, [&](int piece, std::int64_t column) {
    const auto values = x.get(piece, column);
    for (int i = 0; i < Share::width; ++i) {
      const float distance = to_f32(values.values[i]) - mean;
      squares += distance * distance;
    }
  });
  const float scale = 1.0F / sqrtf(block_sum<Share::group>(squares) / count + a.epsilon);
  if (threadIdx.x % Share::group == 0) {
    if (a.mean != nullptr) a.mean[row] = mean;
    a.inverse_deviation[row] = scale;
  }
  const RowPart<Share, T> weight(a.weight, a.n);
  const RowPart<Share, T> bias(a.bias, a.n);
  Share::for_each(a.n, [&](int piece, std::int64_t column) {
    auto values = x.get(piece, column);
    const auto factor = weight.get(piece, column);
    const auto shift = bias.get(piece, column);
    for (int i = 0; i < Share::width; ++i)
      values.values[i] =
          from_f32<T>((to_f32(values.values[i]) - mean) * scale * to_f32(factor.values[i]) + to_f32(shift.values[i]));
    store_piece(a.y + first + column, values);
  });
}

template <typename T>
struct NormBackwardRows {
  std::int64_t rows, n;
  bool centered;  ///< LayerNorm
  const T *x, *dy, *weight;
  const float *mean, *inverse_deviation;
  const T* residual_gradient;
  T* dx;
};

/// dx = scale * (g - mean(g) - x' mean(g x')) with g = dy * weight and x' the normalised row; RMSNorm has no mean(g).
template <typename Share, typename T>
__global__ void __launch_bounds__(Share::threads, Share::least_blocks) norm_backward_rows(NormBackwardRows<T> a) {
  const std::int64_t row = Share::row();
  if (row >= a.rows) return;
  const std::int64_t first = row * a.n;
  const RowPart<Share, T> x(a.x + first, a.n);
  const RowPart<Share, T> dy(a.dy + first, a.n);
  const RowPart<Share, T> weight(a.weight, a.n);
  const RowPart<Share, T> residual(a.residual_gradient != nullptr ? a.residual_gradient + first : nullptr, a.n);
  const float mean = a.centered ? a.mean[row] : 0.0F;
  const float scale = a.inverse_deviation[row];
  float sum = 0.0F;
  float product = 0.0F;
  Share::for_each(a.n, [&](int piece, std::int64_t column) {
    const auto values = x.get(piece, column);
    const auto gradient = dy.get(piece, column);
    const auto factor = weight.get(piece, column);
    for (int i = 0; i < Share::width; ++i) {
      const float g = to_f32(gradient.values[i]) * to_f32(factor.values[i]);
      sum += g;
      product += g * ((to_f32(values.values[i]) - mean) * scale);
    }
  });
  const float center = a.centered ? block_sum<Share::group>(sum) / static_cast<float>(a.n) : 0.0F;
  const float slope = block_sum<Share::group>(product) / static_cast<float>(a.n);
  Share::for_each(a.n, [&](int piece, std::int64_t column) {
    auto values = x.get(piece, column);
    const auto gradient = dy.get(piece, column);
    const auto factor = weight.get(piece, column);
    const auto more = residual.get(piece, column);
    for (int i = 0; i < Share::width; ++i) {
      const float g = to_f32(gradient.values[i]) * to_f32(factor.values[i]);
      const float normal = (to_f32(values.values[i]) - mean) * scale;
      values.values[i] = from_f32<T>(scale * (g - center - normal * slope) + to_f32(more.values[i]));
    }
    store_piece(a.dx + first + column, values);
  });
}

/// dweight and dbias are column sums of dy * x' and of dy.
template <typename T, int width_>
struct NormWeightTerms {
  static constexpr int sums = 2;
  static constexpr int width = width_;
  struct Item {
    Piece<T, width> x, dy;
    float mean, scale;
  };

  const T *x, *dy;
  const float *mean, *inverse_deviation;  ///< mean is null for RMSNorm
  std::int64_t n;

  __device__ __forceinline__ Item load(std::int64_t row, std::int64_t column) const {
    return {load_piece<width>(x + row * n + column), load_piece<width>(dy + row * n + column),
            mean != nullptr ? mean[row] : 0.0F, inverse_deviation[row]};
  }
  __device__ __forceinline__ void add(const Item& item, float (&total)[sums][width]) const {
    for (int i = 0; i < width; ++i) {
      const float dy_value = to_f32(item.dy.values[i]);
      total[0][i] += dy_value * ((to_f32(item.x.values[i]) - item.mean) * item.scale);
      total[1][i] += dy_value;
    }
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::norm(const NormArgs& args) {
  const std::int64_t rows = args.x.shape().rows();
  const std::int64_t n = args.x.shape().columns();
  const bool layer = args.kind == NormKind::layer;
  expect_elements("norm y", args.y, rows * n);
  expect_elements("norm weight", args.weight, n);
  if (!args.bias.empty()) expect_elements("norm bias", args.bias, n);
  expect_elements("norm inverse_deviation", args.inverse_deviation, rows);
  if (layer) expect_elements("norm mean", args.mean, rows);
  if (!args.residual.empty()) expect_elements("norm residual", args.residual, rows * n);
  if (!args.residual.empty()) expect_elements("norm sum", args.sum, rows * n);
  if (rows * n == 0) return;
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const NormRows<T> a{rows,
                        n,
                        args.epsilon,
                        elements_of<T>(args.x),
                        elements_of<T>(args.residual),
                        writable<T>(args.sum),
                        elements_of<T>(args.weight),
                        elements_of<T>(args.bias),
                        writable<T>(args.y),
                        layer ? writable<float>(args.mean) : nullptr,
                        writable<float>(args.inverse_deviation)};
    const bool packed = at_packs({a.x, a.residual, a.sum, a.weight, a.bias, a.y});
    for_share<T>(n, packed, [&](auto share) {
      using Share = decltype(share);
      launch(norm_rows<Share, T>, Share::blocks(rows), Share::threads, state_->compute.get(), a);
    });
  });
}

void CudaBackend::norm_backward_input(const NormBackwardInputArgs& args) {
  const std::int64_t rows = args.x.shape().rows();
  const std::int64_t n = args.x.shape().columns();
  expect_elements("norm dy", args.dy, rows * n);
  expect_elements("norm dx", args.dx, rows * n);
  expect_elements("norm weight", args.weight, n);
  expect_elements("norm inverse_deviation", args.inverse_deviation, rows);
  if (args.kind == NormKind::layer) expect_elements("norm mean", args.mean, rows);
  if (!args.residual_gradient.empty()) expect_elements("norm residual_gradient", args.residual_gradient, rows * n);
  if (rows * n == 0) return;
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const NormBackwardRows<T> a{rows,
                                n,
                                args.kind == NormKind::layer,
                                elements_of<T>(args.x),
                                elements_of<T>(args.dy),
                                elements_of<T>(args.weight),
                                elements_of<float>(args.mean),
                                elements_of<float>(args.inverse_deviation),
                                elements_of<T>(args.residual_gradient),
                                writable<T>(args.dx)};
    const bool packed = at_packs({a.x, a.dy, a.weight, a.residual_gradient, a.dx});
    for_share<T>(n, packed, [&](auto share) {
      using Share = decltype(share);
      launch(norm_backward_rows<Share, T>, Share::blocks(rows), Share::threads, state_->compute.get(), a);
    });
  });
}

void CudaBackend::norm_backward_weight(const NormBackwardWeightArgs& args) {
  const std::int64_t rows = args.x.shape().rows();
  const std::int64_t n = args.x.shape().columns();
  const bool layer = args.kind == NormKind::layer;
  expect_elements("norm dy", args.dy, rows * n);
  expect_elements("norm dweight", args.dweight, n);
  if (!args.dbias.empty()) expect_elements("norm dbias", args.dbias, n);
  expect_elements("norm inverse_deviation", args.inverse_deviation, rows);
  if (layer) expect_elements("norm mean", args.mean, rows);
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* x = elements_of<T>(args.x);
    const T* dy = elements_of<T>(args.dy);
    const float* mean = layer ? elements_of<float>(args.mean) : nullptr;
    const float* scale = elements_of<float>(args.inverse_deviation);
    const ColumnOutputs<2> outputs = {{writable<float>(args.dweight), writable<float>(args.dbias)}};
    const bool packed = at_packs({x, dy});
    for_width<T>(n, packed, [&](auto width) {
      const NormWeightTerms<T, width> terms{x, dy, mean, scale, n};
      add_columns(*this, state_->compute.get(), terms, rows, n, outputs);
    });
  });
}

}  // namespace trireme
