// Gradient descent and sums of squares over segments of the arenas: a block a tile.
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/optimizer.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"
#include "kernels/segments.h"

namespace trireme {
namespace cuda {
namespace {

constexpr int threads = 256;

/// body(width, element) for this thread's pieces of the tile: `width` is an integral constant, widest or 1, and pieces
/// begin at multiples of it. Segments may begin at any element.
template <int widest, typename Body>
__device__ __forceinline__ void for_pieces(const SegmentTile& tile, Body body) {
  const int past = static_cast<int>(tile.first % widest);
  const int head = past == 0 ? 0 : widest - past < tile.count ? widest - past : tile.count;  // single elements in front
  const int pieces = (tile.count - head) / widest;
  const int singles = tile.count - pieces * widest;
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < singles; i += threads)
    body(std::integral_constant<int, 1>{}, tile.first + (i < head ? i : i + pieces * widest));
  for (int i = thread; i < pieces; i += threads)
    body(std::integral_constant<int, widest>{}, tile.first + head + i * widest);
}

template <int widest>
__global__ void __launch_bounds__(threads) square_tiles(const float* x, const SegmentTile* tiles, double* partial) {
  double sum = 0.0;
  for_pieces<widest>(tiles[blockIdx.x], [&](auto width, std::int64_t at) {
    const auto piece = load_piece<width>(x + at);
    for (int i = 0; i < width; ++i) sum += static_cast<double>(piece.values[i]) * static_cast<double>(piece.values[i]);
  });
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// First tile of a segment, or of one after it.
__device__ __forceinline__ int first_tile(const SegmentTile* tiles, int count, int segment) {
  int first = 0;
  for (int end = count; first < end;) {
    const int middle = first + (end - first) / 2;
    if (tiles[middle].segment < segment)
      first = middle + 1;
    else
      end = middle;
  }
  return first;
}

/// out[segment] += the sums of its tiles; a block a segment.
__global__ void __launch_bounds__(threads)
    add_tile_sums(const SegmentTile* tiles, int count, const double* partial, double* out) {
  const int segment = static_cast<int>(blockIdx.x);
  const int end = first_tile(tiles, count, segment + 1);
  double sum = 0.0;
  for (int i = first_tile(tiles, count, segment) + static_cast<int>(threadIdx.x); i < end; i += threads)
    sum += partial[i];
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) out[segment] += sum;
}

struct Sgd {
  GradientScale gradient_scale;
  float* value;
  const float* gradient;
  float* velocity;         ///< null: no momentum
  __nv_bfloat16* working;  ///< null: no copy
  const SegmentTile* tiles;
  const std::int32_t* mask;  ///< null: all elements decay
  const double* value_squares;
  const double* gradient_squares;  ///< null: the rate is 1
  double trust_coefficient, weight_decay;
  float learning_rate, momentum;
  float fresh, kept;  ///< shares of the gradient and of the velocity in what is taken from the value

  __device__ __forceinline__ double rate(int segment, double scale, double decay) const {
    if (value_squares == nullptr) return 1.0;
    const double value_norm = sqrt(value_squares[segment]);
    const double gradient_norm = scale * sqrt(gradient_squares[segment]);
    if (!(value_norm > 0.0 && gradient_norm > 0.0)) return 1.0;
    return trust_coefficient * value_norm / (gradient_norm + decay * value_norm);
  }
  /// scale and decay include the rate.
  template <int width>
  __device__ __forceinline__ void step(std::int64_t at, float scale, float decay) const {
    auto values = load_piece<width>(value + at);
    auto gradients = load_piece<width>(gradient + at);
    for (int i = 0; i < width; ++i) gradients.values[i] = scale * gradients.values[i] + decay * values.values[i];
    if (velocity != nullptr) {
      auto velocities = load_piece<width>(velocity + at);
      for (int i = 0; i < width; ++i) {
        velocities.values[i] = momentum * velocities.values[i] + gradients.values[i];
        gradients.values[i] = fresh * gradients.values[i] + kept * velocities.values[i];
      }
      store_piece(velocity + at, velocities);
    }
    Piece<__nv_bfloat16, width> copy;
    for (int i = 0; i < width; ++i) {
      values.values[i] -= learning_rate * gradients.values[i];
      copy.values[i] = from_f32<__nv_bfloat16>(values.values[i]);
    }
    store_piece(value + at, values);
    if (working != nullptr) store_piece(working + at, copy);
  }
};

template <int widest>
__global__ void __launch_bounds__(threads) step_tiles(Sgd sgd) {
  const SegmentTile tile = sgd.tiles[blockIdx.x];
  __shared__ float factors[2];
  if (threadIdx.x == 0) {
    const float scale = sgd.gradient_scale.get();
    const double decay = decays(sgd.mask, tile.first) ? sgd.weight_decay : 0.0;
    const auto rate = static_cast<float>(sgd.rate(tile.segment, scale, decay));
    factors[0] = rate * scale;
    factors[1] = rate * static_cast<float>(decay);
  }
  __syncthreads();
  const float scale = factors[0];
  const float decay = factors[1];
  for_pieces<widest>(tile, [&](auto width, std::int64_t at) { sgd.step<width>(at, scale, decay); });
}

const SegmentTile* table_of(const Tensor& tiles) {
  return reinterpret_cast<const SegmentTile*>(tiles.data<std::int32_t>());
}

const double* doubles_or_null(const Tensor& tensor) { return tensor.empty() ? nullptr : tensor.data<double>(); }

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::add_segment_squares(const Tensor& x, const Tensor& tiles, Tensor out) {
  expect_tiles(tiles);
  const std::int64_t count = tiles.shape().rows();
  if (count == 0) return;
  const float* values = elements_of<float>(x);
  Tensor scratch = allocate({count}, DType::f64);
  double* partial = scratch.data<double>();
  cudaStream_t stream = state_->compute.get();
  launch(at_packs({values}) ? square_tiles<Pack<float>::size> : square_tiles<1>, static_cast<unsigned>(count), threads,
         stream, values, table_of(tiles), partial);
  launch(add_tile_sums, static_cast<unsigned>(out.elements()), threads, stream, table_of(tiles),
         static_cast<int>(count), partial, out.data<double>());
}

void CudaBackend::sgd(const SgdArgs& args) {
  expect_fitting(args);
  const std::int64_t count = args.tiles.shape().rows();
  if (count == 0) return;
  const Sgd sgd = {.gradient_scale = GradientScale(args),
                   .value = writable<float>(args.value),
                   .gradient = elements_of<float>(args.gradient),
                   .velocity = writable<float>(args.velocity),
                   .working = writable<__nv_bfloat16>(args.working),
                   .tiles = table_of(args.tiles),
                   .mask = args.decay_mask.empty() ? nullptr : args.decay_mask.data<std::int32_t>(),
                   .value_squares = doubles_or_null(args.value_squares),
                   .gradient_squares = doubles_or_null(args.gradient_squares),
                   .trust_coefficient = args.trust_coefficient,
                   .weight_decay = args.weight_decay,
                   .learning_rate = static_cast<float>(args.learning_rate),
                   .momentum = static_cast<float>(args.momentum),
                   .fresh = args.nesterov ? 1.0F : 0.0F,
                   .kept = args.nesterov ? static_cast<float>(args.momentum) : 1.0F};
  const bool packed = at_packs({sgd.value, sgd.gradient, sgd.velocity, sgd.working});
  launch(packed ? step_tiles<Pack<float>::size> : step_tiles<1>, static_cast<unsigned>(count), threads,
         state_->compute.get(), sgd);
}

}  // namespace trireme
