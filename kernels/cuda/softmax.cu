// Softmax over the last axis; a row is read once where it fits into the registers of its threads.
#include <cfloat>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

/// y may be x: every thread writes what only it reads.
template <typename Share, typename T>
__global__ void __launch_bounds__(Share::threads, Share::least_blocks)
    softmax_rows(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  const std::int64_t row = Share::row();
  if (row >= rows) return;
  const RowPart<Share, T> part(x + row * n, n);
  float maximum = -FLT_MAX;  // finite, so that a row of -infinity has differences
  Share::for_each(n, [&](int piece, std::int64_t column) {
    const auto values = part.get(piece, column);
    for (int i = 0; i < Share::width; ++i) maximum = larger(maximum, to_f32(values.values[i]));
  });
  maximum = block_maximum<Share::group>(maximum);
  float sum = 0.0F;
  Share::for_each(n, [&](int piece, std::int64_t column) {
    const auto values = part.get(piece, column);
    for (int i = 0; i < Share::width; ++i) sum += expf(to_f32(values.values[i]) - maximum);
  });
  const float scale = 1.0F / block_sum<Share::group>(sum);
  Share::for_each(n, [&](int piece, std::int64_t column) {
    auto values = part.get(piece, column);
    for (int i = 0; i < Share::width; ++i)
      values.values[i] = from_f32<T>(expf(to_f32(values.values[i]) - maximum) * scale);
    store_piece(y + row * n + column, values);
  });
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::softmax(const Tensor& x, Tensor y) {
  const std::int64_t rows = x.shape().rows();
  const std::int64_t n = x.shape().columns();
  expect_elements("softmax y", y, rows * n);
  if (rows * n == 0) return;
  for_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = elements_of<T>(x);
    T* out = writable<T>(y);
    const bool packed = at_packs({in, out});
    for_share<T>(n, packed, [&](auto share) {
      using Share = decltype(share);
      launch(softmax_rows<Share, T>, Share::blocks(rows), Share::threads, state_->compute.get(), in, out, rows, n);
    });
  });
}

}  // namespace trireme
