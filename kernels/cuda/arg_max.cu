// The largest element of each row.
#include <climits>
#include <cmath>

#include "kernels/cross_entropy_shape.h"
#include "kernels/cuda/aligned_rows.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

/// An element that may be the largest. Shared memory holds some, so nothing has an initial value.
struct Candidate {
  float value;
  std::int32_t place;

  /// NaN before all numbers, of equal ones the first.
  __device__ __forceinline__ bool is_before(const Candidate& other) const {
    const bool nan = value != value;
    const bool other_nan = other.value != other.value;
    if (nan != other_nan) return nan;
    if (value == other.value || nan) return place < other.place;
    return value > other.value;
  }
  __device__ __forceinline__ void take(const Candidate& other) {
    if (other.is_before(*this)) *this = other;
  }
};

/// The first candidate of `threads` threads in their order above; every thread gets it. All threads must call it.
template <int threads>
__device__ __forceinline__ Candidate first_of_block(Candidate best) {
  __shared__ Candidate partial[threads / warp_size];
  for (int bits = warp_size / 2; bits > 0; bits /= 2) {
    best.take({__shfl_xor_sync(whole_warp, best.value, bits), __shfl_xor_sync(whole_warp, best.place, bits)});
  }
  if (threads == warp_size) return best;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread % warp_size == 0) partial[thread / warp_size] = best;
  __syncthreads();
  best = partial[0];
  for (int warp = 1; warp < threads / warp_size; ++warp) best.take(partial[warp]);
  return best;
}

/// body(value, place) for the elements of one of `group` threads.
template <int group, typename T, typename Body>
__device__ __forceinline__ void for_row_elements(const T* x, std::int64_t n, Body body) {
  const AlignedRow<T> cut(x, n);
  for (std::int64_t edge = threadIdx.x % group; edge < cut.edges; edge += group)
    body(to_f32(x[cut.place(edge)]), cut.place(edge));
  for_batches<group>(cut.packs, [&](auto several, std::int64_t first) {
    const auto place = [&](int i) { return cut.head + (first + i * group) * Pack<T>::size; };
    Pack<T> packs[several];
    unrolled<several>([&](int i) { packs[i] = load_pack(x + place(i)); });
    unrolled<several>([&](int i) {
      for (int j = 0; j < Pack<T>::size; ++j) body(to_f32(packs[i].values[j]), place(i) + j);
    });
  });
}

template <int group, typename T>
__global__ void __launch_bounds__(256)
    largest_of_rows(const T* all, std::int64_t rows, std::int64_t n, std::int32_t* places, float* probabilities) {
  const std::int64_t row = std::int64_t{blockIdx.x} * (256 / group) + static_cast<int>(threadIdx.x) / group;
  if (row >= rows) return;
  const T* x = all + row * n;
  Candidate best{-INFINITY, INT_MAX};  // behind every element
  for_row_elements<group>(x, n, [&](float value, std::int64_t place) {
    best.take({value, static_cast<std::int32_t>(place)});
  });
  best = first_of_block<group>(best);
  if (threadIdx.x % group == 0) places[row] = best.place;
  if (probabilities == nullptr) return;
  float sum = 0.0F;
  for_row_elements<group>(x, n, [&](float value, std::int64_t) { sum += __expf(value - best.value); });
  sum = block_sum<group>(sum);
  if (threadIdx.x % group == 0) probabilities[row] = 1.0F / sum;
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::arg_max(const ArgMaxArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  if (sizes.rows == 0) return;
  Tensor places = args.places;
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    for_group(sizes.columns, [&](auto group) {
      launch(largest_of_rows<group, T>, blocks_for(sizes.rows, 256 / group, sizes.rows), 256, state_->compute.get(),
             elements_of<T>(args.x), sizes.rows, sizes.columns, places.data<std::int32_t>(),
             args.probabilities.empty() ? nullptr : writable<float>(args.probabilities));
    });
  });
}

}  // namespace trireme
