// Sums of batch normalisation (Ioffe and Szegedy 2015) over the rows.
#include <type_traits>

#include "kernels/convolution_shape.h"
#include "kernels/cuda/batch_norm.h"
#include "kernels/cuda/columns.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

/// Sums of (x - shift) and (x - shift)^2, for add_columns.
template <typename T, int width_>
struct MomentTerms {
  static constexpr int sums = 2;
  static constexpr int width = width_;
  struct Item {
    Piece<T, width> x;
    std::int64_t channel;
  };
  const T* x;
  const float* shift;
  std::int64_t channels;

  __device__ __forceinline__ Item load(std::int64_t row, std::int64_t channel) const {
    return {load_piece<width>(x + row * channels + channel), channel};
  }
  __device__ __forceinline__ void add(const Item& item, float (&total)[sums][width]) const {
    float shifts[width];
    load_floats(shift + item.channel, shifts);
    for (int i = 0; i < width; ++i) {
      const float distance = to_f32(item.x.values[i]) - shifts[i];
      total[0][i] += distance;
      total[1][i] += distance * distance;
    }
  }
};

/// Sums of dz and dz * normalised x.
template <typename T, int width_>
struct GradientTerms {
  static constexpr int sums = 2;
  static constexpr int width = width_;
  struct Item {
    Piece<T, width> x, dz;
    std::int64_t channel;
  };
  const T* x;
  const T* dy;
  const T* y;
  const float* mean;
  const float* scale;
  std::int64_t channels;

  __device__ __forceinline__ Item load(std::int64_t row, std::int64_t channel) const {
    const std::int64_t at = row * channels + channel;
    return {load_piece<width>(x + at), before_relu<width>(dy, y, at), channel};
  }
  __device__ __forceinline__ void add(const Item& item, float (&total)[sums][width]) const {
    float means[width];
    float scales[width];
    load_floats(mean + item.channel, means);
    load_floats(scale + item.channel, scales);
    for (int i = 0; i < width; ++i) {
      const float dz = to_f32(item.dz.values[i]);
      total[0][i] += dz;
      total[1][i] += dz * ((to_f32(item.x.values[i]) - means[i]) * scales[i]);
    }
  }
};

/// As BatchNormMomentsArgs has them; null where empty.
struct MomentsOfChannels {
  std::int64_t channels;
  const float* totals;
  const float* shift;
  const float* running_mean;
  const float* running_variance;
  float* mean;
  float* inverse_deviation;
  float* track_mean;
  float* track_variance;
  double count, epsilon, track_factor;

  __device__ __forceinline__ void at(std::int64_t c) const {
    double center = 0.0;
    double variance = 0.0;
    if (totals != nullptr) {
      const double distance = totals[c] / count;
      center = shift[c] + distance;
      variance = totals[channels + c] / count - distance * distance;
      if (variance < 0.0) variance = 0.0;  // by rounding; NaN stays
    } else {
      center = running_mean[c];
      variance = running_variance[c];
    }
    mean[c] = static_cast<float>(center);
    inverse_deviation[c] = static_cast<float>(1.0 / sqrt(variance + epsilon));
    if (track_mean == nullptr) return;
    const double unbiased = variance * count / (count > 2.0 ? count - 1.0 : 1.0);
    track_mean[c] += static_cast<float>(track_factor * (center - running_mean[c]));
    track_variance[c] += static_cast<float>(track_factor * (unbiased - running_variance[c]));
  }
};

__global__ void __launch_bounds__(warp_size) moments_of_channels(MomentsOfChannels moments) {
  const std::int64_t channel = global_thread();
  if (channel < moments.channels) moments.at(channel);
}

/// totals [2, channels] = the sums of `terms`.
template <typename Terms>
void set_totals(Backend& backend, cudaStream_t stream, const Terms& terms, const BatchNormSizes& sizes, Tensor totals) {
  backend.zero(totals);
  float* to = totals.data<float>();
  add_columns(backend, stream, terms, sizes.rows, sizes.channels, ColumnOutputs<2>{{to, to + sizes.channels}});
}

/// As for_width, with narrower pieces where channels are few, so that all lanes of a warp have some.
template <typename T, typename Function>
void for_channel_width(std::int64_t channels, bool packed, Function function) {
  if (packed && channels % 2 == 0 && channels < 4 * warp_size) return function(std::integral_constant<int, 2>{});
  for_width<T>(channels, packed, function);
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::batch_norm_statistics(const BatchNormStatisticsArgs& args) {
  const BatchNormSizes sizes = sizes_of(args);
  for_type(args.x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* x = elements_of<T>(args.x);
    const float* shift = elements_of<float>(args.shift);
    for_channel_width<T>(sizes.channels, at_packs({x, shift}), [&](auto width) {
      set_totals(*this, state_->compute.get(), MomentTerms<T, width>{x, shift, sizes.channels}, sizes, args.totals);
    });
  });
}

void CudaBackend::batch_norm_moments(const BatchNormMomentsArgs& args) {
  const std::int64_t channels = sizes_of(args).channels;
  if (channels == 0) return;
  const MomentsOfChannels moments = {.channels = channels,
                                     .totals = elements_of<float>(args.totals),
                                     .shift = elements_of<float>(args.shift),
                                     .running_mean = elements_of<float>(args.running_mean),
                                     .running_variance = elements_of<float>(args.running_variance),
                                     .mean = writable<float>(args.mean),
                                     .inverse_deviation = writable<float>(args.inverse_deviation),
                                     .track_mean = writable<float>(args.track_mean),
                                     .track_variance = writable<float>(args.track_variance),
                                     .count = args.count,
                                     .epsilon = args.epsilon,
                                     .track_factor = args.track_factor};
  launch(moments_of_channels, blocks_for(channels, warp_size, channels), warp_size, state_->compute.get(), moments);
}

void CudaBackend::batch_norm_backward_statistics(const BatchNormBackwardStatisticsArgs& args) {
  const BatchNormSizes sizes = sizes_of(args);
  const BatchNormArgs& forward = args.forward;
  for_type(args.dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* x = elements_of<T>(forward.x);
    const T* dy = elements_of<T>(args.dy);
    const T* y = forward.relu ? elements_of<T>(forward.y) : nullptr;
    const float* mean = elements_of<float>(forward.mean);
    const float* scale = elements_of<float>(forward.inverse_deviation);
    for_channel_width<T>(sizes.channels, at_packs({x, dy, y, mean, scale}), [&](auto width) {
      const GradientTerms<T, width> terms = {x, dy, y, mean, scale, sizes.channels};
      set_totals(*this, state_->compute.get(), terms, sizes, args.totals);
    });
  });
}

}  // namespace trireme
