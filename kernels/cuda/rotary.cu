#include <cmath>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int pairs_at_once = 128;      ///< of a head: all of it where heads have up to 256 elements
constexpr std::int64_t batch_rows = 8;  ///< rows of one position that share its angles

struct Rotation {
  std::int64_t batch, time, row_elements;
  int heads;  ///< queries and keys
  int half;   ///< pairs of a head
  double first_position;
  double log2_step;  ///< of the frequency, between neighbouring pairs
  bool inverse;
};

/// A block rotates rows of one position: grid [time, parts of the batch]. Pairs are half a head apart.
template <int width, typename T>
__global__ void __launch_bounds__(threads) rotate(Rotation r, T* qkv) {
  __shared__ float cosines[pairs_at_once];
  __shared__ float sines[pairs_at_once];
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t t = blockIdx.x;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * batch_rows;
  const int rows = static_cast<int>(r.batch - first_row < batch_rows ? r.batch - first_row : batch_rows);
  for (int first = 0; first < r.half; first += pairs_at_once) {
    const int pairs = r.half - first < pairs_at_once ? r.half - first : pairs_at_once;
    __syncthreads();
    if (thread < pairs) {  // in f64, as positions may be large
      const double angle = (r.first_position + static_cast<double>(t)) * exp2(r.log2_step * (first + thread));
      cosines[thread] = static_cast<float>(cos(angle));
      sines[thread] = static_cast<float>(r.inverse ? -sin(angle) : sin(angle));
    }
    __syncthreads();
    const int pieces = pairs / width;
    for (int item = thread; item < rows * r.heads * pieces; item += threads) {
      const int pair = item % pieces * width;
      const int head = item / pieces % r.heads;
      const std::int64_t row = (first_row + item / pieces / r.heads) * r.time + t;
      T* at = qkv + row * r.row_elements + static_cast<std::int64_t>(head) * 2 * r.half + first + pair;
      auto x = load_piece<width>(at);
      auto y = load_piece<width>(at + r.half);
      for (int i = 0; i < width; ++i) {
        const float old_x = to_f32(x.values[i]);
        const float old_y = to_f32(y.values[i]);
        x.values[i] = from_f32<T>(old_x * cosines[pair + i] - old_y * sines[pair + i]);
        y.values[i] = from_f32<T>(old_y * cosines[pair + i] + old_x * sines[pair + i]);
      }
      store_piece(at, x);
      store_piece(at + r.half, y);
    }
  }
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::rotary(const RotaryArgs& args) {
  const Shape& shape = args.qkv.shape();
  const int half = args.head_size / 2;
  const std::int64_t row_elements = std::int64_t{args.heads + 2 * args.key_value_heads} * 2 * half;
  expect_elements("rotary: qkv [batch, time, query, key and value heads of an even size]", args.qkv,
                  shape[0] * shape[1] * row_elements);
  if (args.qkv.elements() == 0) return;
  const Rotation rotation = {.batch = shape[0],
                             .time = shape[1],
                             .row_elements = row_elements,
                             .heads = args.heads + args.key_value_heads,
                             .half = half,
                             .first_position = static_cast<double>(args.first_position),
                             .log2_step = -std::log2(static_cast<double>(args.base)) / half,
                             .inverse = args.inverse};
  const dim3 grid(static_cast<unsigned>(shape[1]), blocks_for(shape[0], batch_rows));
  for_type(args.qkv.dtype(), [&](auto tag) {
    using T = decltype(tag);
    T* qkv = writable<T>(args.qkv);
    for_width<T>(half, at_packs({qkv}), [&](auto width) {
      launch(rotate<width, T>, grid, dim3(threads), state_->compute.get(), rotation, qkv);
    });
  });
}

}  // namespace trireme
