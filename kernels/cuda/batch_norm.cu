// Batch normalisation (Ioffe and Szegedy 2015). Memory-bound: every step reads its images once.
#include "kernels/convolution_shape.h"
#include "kernels/cuda/batch_norm.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

/// y = activation((x - mean) * scale * weight + bias [+ residual]).
template <typename T>
struct Normalise {
  const T* x;
  const float* mean;
  const float* scale;
  const T* weight;
  const T* bias;
  const T* residual;
  bool relu;
  T* y;

  template <int width>
  struct Channels {
    float mean[width], slope[width], bias[width];
  };
  template <int width>
  struct Inputs {
    Piece<T, width> x, residual;
  };
  template <int width>
  __device__ __forceinline__ Channels<width> channels(std::int64_t channel) const {
    Channels<width> c;
    float weights[width];
    load_floats(mean + channel, c.mean);
    load_floats(scale + channel, c.slope);
    load_floats(weight + channel, weights);
    load_floats(bias + channel, c.bias);
    for (int i = 0; i < width; ++i) c.slope[i] *= weights[i];
    return c;
  }
  template <int width>
  __device__ __forceinline__ Inputs<width> load(std::int64_t at) const {
    return {load_piece<width>(x + at), residual != nullptr ? load_piece<width>(residual + at) : Piece<T, width>{}};
  }
  template <int width>
  __device__ __forceinline__ void store(std::int64_t at, const Channels<width>& c, const Inputs<width>& in) const {
    Piece<T, width> result;
    for (int i = 0; i < width; ++i) {
      float z = (to_f32(in.x.values[i]) - c.mean[i]) * c.slope[i] + c.bias[i];
      if (residual != nullptr) z += to_f32(in.residual.values[i]);
      result.values[i] = from_f32<T>(relu && z < 0.0F ? 0.0F : z);
    }
    store_piece(y + at, result);
  }
};

/// dx = weight * scale * (dz - (dbias + normalised x * dweight) / count).
template <typename T>
struct NormaliseBackward {
  const T* x;
  const T* dy;
  const T* y;  ///< null without ReLU
  const float* mean;
  const float* scale;
  const T* weight;
  const float* dbias;
  const float* dweight;
  float share;  ///< 1 / count
  T* dx;
  T* residual_gradient;  ///< or null

  template <int width>
  struct Channels {
    float mean[width], factor[width], dbias[width], slope[width];
  };
  template <int width>
  struct Inputs {
    Piece<T, width> x, dz;
  };
  template <int width>
  __device__ __forceinline__ Channels<width> channels(std::int64_t channel) const {
    Channels<width> c;
    float scales[width];
    load_floats(mean + channel, c.mean);
    load_floats(scale + channel, scales);
    load_floats(weight + channel, c.factor);
    load_floats(dbias + channel, c.dbias);
    load_floats(dweight + channel, c.slope);
    for (int i = 0; i < width; ++i) {
      c.factor[i] *= scales[i];
      c.dbias[i] *= share;
      c.slope[i] *= scales[i] * share;
    }
    return c;
  }
  template <int width>
  __device__ __forceinline__ Inputs<width> load(std::int64_t at) const {
    return {load_piece<width>(x + at), before_relu<width>(dy, y, at)};
  }
  template <int width>
  __device__ __forceinline__ void store(std::int64_t at, const Channels<width>& c, const Inputs<width>& in) const {
    Piece<T, width> result;
    for (int i = 0; i < width; ++i) {
      const float through_totals = c.dbias[i] + (to_f32(in.x.values[i]) - c.mean[i]) * c.slope[i];
      result.values[i] = from_f32<T>(c.factor[i] * (to_f32(in.dz.values[i]) - through_totals));
    }
    if (residual_gradient != nullptr) store_piece(residual_gradient + at, in.dz);
    store_piece(dx + at, result);
  }
};

constexpr int threads = 256;
constexpr int batch = 2;           ///< pieces that a thread has under way
constexpr int rows_a_thread = 16;  ///< for which it keeps what belongs to its channels

/// How the threads of a block share a strip of channels: each has one piece of them, in every lanes-th row.
struct Strips {
  Strips(std::int64_t channels, int width) {
    const std::int64_t all = channels / width;
    count = (all + warp_size - 1) / warp_size;
    pieces = static_cast<int>((all + count - 1) / count);
    lanes = threads / pieces;
  }
  std::int64_t count;
  int pieces;  ///< of a strip
  int lanes;
};

/// Grid: parts of the rows, strips.
template <int width, typename Operation>
__global__ void __launch_bounds__(threads)
    run_by_channel(Operation operation, Strips strips, std::int64_t rows, std::int64_t channels) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread / strips.pieces;
  const std::int64_t channel = (std::int64_t{blockIdx.y} * strips.pieces + thread % strips.pieces) * width;
  if (lane >= strips.lanes || channel >= channels) return;
  const auto constants = operation.template channels<width>(channel);
  const std::int64_t stride = strips.lanes;
  const std::int64_t first = std::int64_t{blockIdx.x} * stride * rows_a_thread + lane;
  const std::int64_t end = first + stride * rows_a_thread < rows ? first + stride * rows_a_thread : rows;
  for (std::int64_t row = first; row < end; row += batch * stride) {
    typename Operation::template Inputs<width> inputs[batch];
    unrolled<batch>([&](int i) {
      const std::int64_t from = row + i * stride;
      inputs[i] = operation.template load<width>((from < end ? from : row) * channels + channel);
    });
    unrolled<batch>([&](int i) {
      const std::int64_t to = row + i * stride;
      if (to < end) operation.store(to * channels + channel, constants, inputs[i]);
    });
  }
}

template <int width, typename Operation>
void for_channels(cudaStream_t stream, const BatchNormSizes& sizes, const Operation& operation) {
  if (sizes.rows * sizes.channels == 0) return;
  const Strips strips(sizes.channels, width);
  const dim3 grid(blocks_for(sizes.rows, strips.lanes * rows_a_thread, std::int64_t{1} << 31),
                  static_cast<unsigned>(strips.count));
  launch(run_by_channel<width, Operation>, grid, dim3(threads), stream, operation, strips, sizes.rows, sizes.channels);
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::batch_norm(const BatchNormArgs& args) {
  const BatchNormSizes sizes = sizes_of(args);
  for_type(args.x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Normalise<T> o = {.x = elements_of<T>(args.x),
                            .mean = elements_of<float>(args.mean),
                            .scale = elements_of<float>(args.inverse_deviation),
                            .weight = elements_of<T>(args.weight),
                            .bias = elements_of<T>(args.bias),
                            .residual = elements_of<T>(args.residual),
                            .relu = args.relu,
                            .y = writable<T>(args.y)};
    for_width<T>(sizes.channels, at_packs({o.x, o.mean, o.scale, o.weight, o.bias, o.residual, o.y}),
                 [&](auto width) { for_channels<width>(state_->compute.get(), sizes, o); });
  });
}

void CudaBackend::batch_norm_backward(const BatchNormBackwardArgs& args) {
  const BatchNormSizes sizes = sizes_of(args);
  const BatchNormArgs& forward = args.forward;
  for_type(args.dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const float* totals = elements_of<float>(args.totals);
    const NormaliseBackward<T> o = {.x = elements_of<T>(forward.x),
                                    .dy = elements_of<T>(args.dy),
                                    .y = forward.relu ? elements_of<T>(forward.y) : nullptr,
                                    .mean = elements_of<float>(forward.mean),
                                    .scale = elements_of<float>(forward.inverse_deviation),
                                    .weight = elements_of<T>(forward.weight),
                                    .dbias = totals,
                                    .dweight = totals + sizes.channels,
                                    .share = static_cast<float>(1.0 / args.count),
                                    .dx = writable<T>(args.dx),
                                    .residual_gradient = writable<T>(args.residual_gradient)};
    const bool packed = at_packs({o.x, o.dy, o.y, o.mean, o.scale, o.weight, totals, o.dx, o.residual_gradient});
    for_width<T>(sizes.channels, packed, [&](auto width) { for_channels<width>(state_->compute.get(), sizes, o); });
  });
}

}  // namespace trireme
