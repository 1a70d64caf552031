// Sums over columns, and over whole tensors in double. Every order of summation follows from the sizes alone.
#include "kernels/cuda/columns.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

constexpr int sum_threads = 256;
constexpr int sum_batch = 4;              ///< accesses that a thread has under way
constexpr std::int64_t most_sums = 1024;  ///< blocks of the first step

template <bool squares>
__device__ __forceinline__ double term(float value) {
  const double wide = value;
  return squares ? wide * wide : wide;
}

/// partial[block] = sum of the terms that the block comes by in strides of the grid.
template <bool squares, int width>
__global__ void __launch_bounds__(sum_threads) sum_terms(const float* x, std::int64_t count, double* partial) {
  const std::int64_t pieces = count / width;
  const std::int64_t stride = global_threads();
  double sum = 0.0;
  for (std::int64_t first = global_thread(); first < pieces; first += sum_batch * stride) {
    Piece<float, width> batch[sum_batch] = {};
    unrolled<sum_batch>([&](int i) {
      if (first + i * stride < pieces) batch[i] = load_piece<width>(x + (first + i * stride) * width);
    });
    unrolled<sum_batch>([&](int i) {
      for (int j = 0; j < width; ++j) sum += term<squares>(batch[i].values[j]);
    });
  }
  const std::int64_t rest = pieces * width + global_thread();
  if (rest < count) sum += term<squares>(x[rest]);
  sum = block_sum<sum_threads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// partial[block] = how many of what the block comes by are not negative.
__global__ void __launch_bounds__(sum_threads)
    count_targets(const std::int32_t* targets, std::int64_t count, double* partial) {
  double found = 0.0;
  for (std::int64_t i = global_thread(); i < count; i += global_threads()) found += targets[i] >= 0 ? 1.0 : 0.0;
  found = block_sum<sum_threads>(found);
  if (threadIdx.x == 0) partial[blockIdx.x] = found;
}

/// out += factor * sum of partial, by one block.
__global__ void __launch_bounds__(sum_threads)
    add_partial_sums(const double* partial, int count, double factor, double* out) {
  double sum = 0.0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += sum_threads) sum += partial[i];
  sum = block_sum<sum_threads>(sum);
  if (threadIdx.x == 0) *out += factor * sum;
}

template <bool squares>
void add_terms(Backend& backend, cudaStream_t stream, const Tensor& x, double factor, const Tensor& out) {
  expect_elements("sum", out, 1);
  const std::int64_t count = x.elements();
  if (count == 0) return;
  const float* values = elements_of<float>(x);
  const bool packed = at_packs({values});
  const unsigned blocks = blocks_for(count, sum_threads * sum_batch * (packed ? Pack<float>::size : 1), most_sums);
  Tensor scratch = backend.allocate({blocks}, DType::f64);
  double* partial = scratch.data<double>();
  launch(packed ? sum_terms<squares, Pack<float>::size> : sum_terms<squares, 1>, blocks, sum_threads, stream, values,
         count, partial);
  Tensor result = out;
  launch(add_partial_sums, 1, sum_threads, stream, partial, static_cast<int>(blocks), factor, result.data<double>());
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::add_column_sums(const Tensor& x, Tensor out) {
  const std::int64_t n = x.shape().columns();
  expect_elements("add_column_sums out", out, n);
  for_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* values = elements_of<T>(x);
    const bool packed = at_packs({values});
    for_width<T>(n, packed, [&](auto width) {
      const ColumnOutputs<1> outputs = {{writable<float>(out)}};
      add_columns(*this, state_->compute.get(), PlainTerms<T, width>{values, n}, x.shape().rows(), n, outputs);
    });
  });
}

void CudaBackend::add_sum(const Tensor& x, double factor, Tensor out) {
  add_terms<false>(*this, state_->compute.get(), x, factor, out);
}

void CudaBackend::add_sum_of_squares(const Tensor& x, Tensor out) {
  add_terms<true>(*this, state_->compute.get(), x, 1.0, out);
}

void CudaBackend::add_count(const Tensor& targets, Tensor out) {
  expect_elements("add_count out", out, 1);
  const std::int64_t count = targets.elements();
  if (count == 0) return;
  const unsigned blocks = blocks_for(count, sum_threads * sum_batch, most_sums);
  Tensor scratch = allocate({blocks}, DType::f64);
  double* partial = scratch.data<double>();
  launch(count_targets, blocks, sum_threads, state_->compute.get(), targets.data<std::int32_t>(), count, partial);
  launch(add_partial_sums, 1, sum_threads, state_->compute.get(), partial, static_cast<int>(blocks), 1.0,
         out.data<double>());
}

}  // namespace trireme
