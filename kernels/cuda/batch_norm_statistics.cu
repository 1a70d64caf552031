// Sums of batch normalisation (Ioffe and Szegedy 2015) over the rows.
#include <type_traits>

#include "kernels/convolution_shape.h"
#include "kernels/cuda/batch_norm.h"
#include "kernels/cuda/columns.h"
#include "kernels/cuda/device.h"
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
