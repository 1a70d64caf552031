// Batch normalisation (Ioffe and Szegedy 2015). Memory-bound: every step reads its images once.
#include <array>
#include <cmath>
#include <type_traits>

#include "kernels/convolution_shape.h"
#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

constexpr std::int64_t columns_a_block = 512;
constexpr std::int64_t rows_a_block = 64;  // sums of so many values meet in the total, which keeps rounding small
/// Rows are cut into this many parts at most, whatever the number of threads, so that sums have one order.
constexpr std::int64_t most_parts = 64;

/// The two terms of one element whose sums over the rows are wanted.
struct Terms {
  float first, second;
};

/// sums [2, channels] += the sums of a block of rows and columns.
template <typename TermsAt>
void add_block(const TermsAt& terms_at, std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns,
               std::int64_t channels, float* sums) {
  std::array<float, columns_a_block> first{};
  std::array<float, columns_a_block> second{};
  float* const to_first = first.data();
  float* const to_second = second.data();
  for (const std::int64_t last = row + rows; row < last; ++row) {
#pragma omp simd
    for (std::int64_t i = 0; i < columns; ++i) {
      const Terms terms = terms_at(row * channels + column + i, column + i);
      to_first[i] += terms.first;
      to_second[i] += terms.second;
    }
  }
  for (std::int64_t i = 0; i < columns; ++i) sums[column + i] += to_first[i];
  for (std::int64_t i = 0; i < columns; ++i) sums[channels + column + i] += to_second[i];
}

/// totals f32 [2, channels] = sums over the rows of what terms_at(element, channel) returns.
template <typename TermsAt>
void sum_rows(Backend& backend, int threads, const BatchNormSizes& sizes, Tensor totals, const TermsAt& terms_at) {
  const std::int64_t channels = sizes.channels;
  const std::int64_t rows_a_part = std::max(rows_a_block, (sizes.rows + most_parts - 1) / most_parts);
  const std::int64_t parts = (sizes.rows + rows_a_part - 1) / rows_a_part;
  Tensor scratch = backend.allocate({parts, 2, channels}, DType::f32);
  float* partial = scratch.data<float>();
  for_blocks(threads, sizes.rows, rows_a_part, [&](std::int64_t begin, std::int64_t end) {
    float* sums = partial + begin / rows_a_part * 2 * channels;
    std::fill_n(sums, 2 * channels, 0.0F);
    for (std::int64_t row = begin; row < end; row += rows_a_block)
      for (std::int64_t column = 0; column < channels; column += columns_a_block)
        add_block(terms_at, row, std::min(rows_a_block, end - row), column,
                  std::min(columns_a_block, channels - column), channels, sums);
  });
  float* out = totals.data<float>();
  for_blocks(threads, 2 * channels, columns_a_block, [=](std::int64_t begin, std::int64_t end) {
    std::array<double, columns_a_block> sums{};
    for (std::int64_t part = 0; part < parts; ++part)
      for (std::int64_t i = begin; i < end; ++i)
        sums[static_cast<std::size_t>(i - begin)] += static_cast<double>(partial[part * 2 * channels + i]);
    for (std::int64_t i = begin; i < end; ++i) out[i] = static_cast<float>(sums[static_cast<std::size_t>(i - begin)]);
  });
}

struct Moments {
  double mean, variance;
};

/// From the sums of `count` distances to the shift and of their squares.
Moments moments_of(double sum, double squares, double shift, double count) {
  const double distance = sum / count;
  const double variance = squares / count - distance * distance;
  return {shift + distance, variance < 0.0 ? 0.0 : variance};  // rounding may go below 0; NaN stays
}

/// Calls body with std::true_type or std::false_type: loops without a branch for what is off.
template <typename Body>
void for_flag(bool flag, const Body& body) {
  if (flag) return body(std::true_type());
  return body(std::false_type());
}

/// Gradient before the ReLU; y is read only where there was one. NaN lets through, as it did forward.
template <bool relu, typename T>
float before_relu(const T* dy, const T* y, std::int64_t i) {
  const float gradient = load(dy[i]);  // outside the choice: vectors load all or nothing
  if constexpr (relu) return load(y[i]) <= 0.0F ? 0.0F : gradient;
  return gradient;
}

}  // namespace

void CpuBackend::batch_norm_statistics(const BatchNormStatisticsArgs& args) {
  const BatchNormSizes sizes = sizes_of(args);
  const float* shift = args.shift.data<float>();
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* x = args.x.data<T>();
    sum_rows(*this, state_->threads, sizes, args.totals, [=](std::int64_t i, std::int64_t channel) {
      const float distance = load(x[i]) - shift[channel];
      return Terms{distance, distance * distance};
    });
  });
}

void CpuBackend::batch_norm_moments(const BatchNormMomentsArgs& args) {
  const std::int64_t channels = sizes_of(args).channels;
  BatchNormMomentsArgs a = args;
  const float* totals = data_or_null<float>(args.totals);
  const float* shift = totals != nullptr ? args.shift.data<float>() : nullptr;
  const float* running_mean = data_or_null<float>(args.running_mean);
  const float* running_variance = data_or_null<float>(args.running_variance);
  float* track_mean = data_or_null<float>(a.track_mean);
  float* track_variance = data_or_null<float>(a.track_variance);
  for (std::int64_t c = 0; c < channels; ++c) {
    const Moments moments = totals != nullptr ? moments_of(totals[c], totals[channels + c], shift[c], args.count)
                                              : Moments{running_mean[c], running_variance[c]};
    a.mean.data<float>()[c] = static_cast<float>(moments.mean);
    a.inverse_deviation.data<float>()[c] =
        static_cast<float>(1.0 / std::sqrt(moments.variance + static_cast<double>(args.epsilon)));
    if (track_mean == nullptr) continue;
    const double unbiased = moments.variance * args.count / std::max(1.0, args.count - 1.0);
    track_mean[c] += static_cast<float>(args.track_factor * (moments.mean - running_mean[c]));
    track_variance[c] += static_cast<float>(args.track_factor * (unbiased - running_variance[c]));
  }
}

void CpuBackend::batch_norm(const BatchNormArgs& args) {
  const BatchNormSizes sizes = sizes_of(args);
  const float* mean = args.mean.data<float>();
  const float* scale = args.inverse_deviation.data<float>();
  const float floor = args.relu ? 0.0F : -std::numeric_limits<float>::infinity();
  Tensor out = args.y;
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* x = args.x.data<T>();
    const T* weight = args.weight.data<T>();
    const T* bias = args.bias.data<T>();
    const T* residual = data_or_null<T>(args.residual);
    T* y = out.data<T>();
    for_flag(residual != nullptr, [&](auto with_residual) {
      for_rows(state_->threads, sizes.rows, sizes.channels, [=, n = sizes.channels](std::int64_t row) {
#pragma omp simd
        for (std::int64_t c = 0; c < n; ++c) {
          const std::int64_t i = row * n + c;
          float z = (load(x[i]) - mean[c]) * scale[c] * load(weight[c]) + load(bias[c]);
          if constexpr (with_residual) z += load(residual[i]);
          store(y[i], z < floor ? floor : z);
        }
      });
    });
  });
}

void CpuBackend::batch_norm_backward_statistics(const BatchNormBackwardStatisticsArgs& args) {
  const BatchNormSizes sizes = sizes_of(args);
  const float* mean = args.forward.mean.data<float>();
  const float* scale = args.forward.inverse_deviation.data<float>();
  for_type(args.dy.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* x = args.forward.x.data<T>();
    const T* dy = args.dy.data<T>();
    const T* y = args.forward.relu ? args.forward.y.data<T>() : nullptr;
    for_flag(args.forward.relu, [&](auto relu) {
      sum_rows(*this, state_->threads, sizes, args.totals, [=](std::int64_t i, std::int64_t channel) {
        const float dz = before_relu<relu()>(dy, y, i);
        return Terms{dz, dz * ((load(x[i]) - mean[channel]) * scale[channel])};
      });
    });
  });
}

void CpuBackend::batch_norm_backward(const BatchNormBackwardArgs& args) {
  const BatchNormSizes sizes = sizes_of(args);
  const float* mean = args.forward.mean.data<float>();
  const float* scale = args.forward.inverse_deviation.data<float>();
  const float* dbias = args.totals.data<float>();
  const float* dweight = dbias + sizes.channels;
  const auto share = static_cast<float>(1.0 / args.count);
  BatchNormBackwardArgs out = args;
  for_type(args.dy.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* x = args.forward.x.data<T>();
    const T* weight = args.forward.weight.data<T>();
    const T* dy = args.dy.data<T>();
    const T* y = args.forward.relu ? args.forward.y.data<T>() : nullptr;
    T* dx = out.dx.data<T>();
    T* residual = data_or_null<T>(out.residual_gradient);
    const auto run = [&](auto relu, auto with_residual) {
      for_rows(state_->threads, sizes.rows, sizes.channels, [=, n = sizes.channels](std::int64_t row) {
#pragma omp simd
        for (std::int64_t c = 0; c < n; ++c) {
          const std::int64_t i = row * n + c;
          const float dz = before_relu<relu()>(dy, y, i);
          const float normal = (load(x[i]) - mean[c]) * scale[c];
          if constexpr (with_residual) store(residual[i], dz);
          store(dx[i], load(weight[c]) * scale[c] * (dz - (dbias[c] + normal * dweight[c]) * share));
        }
      });
    };
    for_flag(args.forward.relu,
             [&](auto relu) { for_flag(residual != nullptr, [&](auto with_residual) { run(relu, with_residual); }); });
  });
}

}  // namespace trireme
