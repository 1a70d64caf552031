// Softmax cross-entropy over a vocabulary that may be split between ranks. The logits are read once for the statistics
// and overwritten once with their gradient.
#include <cfloat>

#include "kernels/cross_entropy_shape.h"
#include "kernels/cuda/aligned_rows.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

/// Maximum and sum of exp(x - maximum) of the elements so far (Milakov and Gimelshein 2018).
struct OnlineSum {
  float maximum = -FLT_MAX;  ///< finite, so that a row of -infinity has differences
  float sum = 0.0F;

  /// NaN is passed over by the maximum and seen in the sum.
  __device__ __forceinline__ void raise(float larger_maximum) {
    if (larger_maximum > maximum) {
      sum *= __expf(maximum - larger_maximum);
      maximum = larger_maximum;
    }
  }
  __device__ __forceinline__ void add(float value) { sum += __expf(value - maximum); }
};

template <int group, typename T>
__global__ void __launch_bounds__(256)
    statistics_of_rows(const T* logits, const std::int32_t* targets, std::int64_t rows, std::int64_t n,
                       std::int64_t first_token, bool with_sum, float* statistics) {
  const std::int64_t row = std::int64_t{blockIdx.x} * (256 / group) + static_cast<int>(threadIdx.x) / group;
  if (row >= rows) return;
  const T* x = logits + row * n;
  const AlignedRow<T> cut(x, n);
  OnlineSum online;
  double plain_sum = 0.0;
  for (std::int64_t edge = threadIdx.x % group; edge < cut.edges; edge += group) {
    const float value = to_f32(x[cut.place(edge)]);
    online.raise(value);
    online.add(value);
    if (with_sum) plain_sum += value;
  }
  for_batches<group>(cut.packs, [&](auto count, std::int64_t first) {
    Pack<T> packs[count];
    unrolled<count>([&](int i) { packs[i] = load_pack(x + cut.head + (first + i * group) * Pack<T>::size); });
    float maximum = online.maximum;
    unrolled<count>([&](int i) {
      for (int j = 0; j < Pack<T>::size; ++j) maximum = fmaxf(maximum, to_f32(packs[i].values[j]));
    });
    online.raise(maximum);
    unrolled<count>([&](int i) {
      for (int j = 0; j < Pack<T>::size; ++j) online.add(to_f32(packs[i].values[j]));
    });
    if (with_sum) {
      unrolled<count>([&](int i) {
        for (int j = 0; j < Pack<T>::size; ++j) plain_sum += to_f32(packs[i].values[j]);
      });
    }
  });
  const float maximum = block_maximum<group>(online.maximum);
  const float sum = block_sum<group>(online.sum * __expf(online.maximum - maximum));
  if (with_sum) plain_sum = block_sum<group>(plain_sum);
  if (threadIdx.x % group != 0) return;
  const std::int64_t target = targets[row] - first_token;
  if (with_sum) statistics[3 * rows + row] = static_cast<float>(plain_sum);
  statistics[row] = maximum;
  statistics[rows + row] = sum;
  statistics[2 * rows + row] = targets[row] >= 0 && target >= 0 && target < n ? to_f32(x[target]) : 0.0F;
}

__global__ void __launch_bounds__(256)
    losses_of_rows(const float* statistics, const std::int32_t* targets, CrossEntropySizes sizes,
                   LabelSmoothing smoothing, float* log_sum_exp, float* losses) {
  const std::int64_t row = global_thread();
  const std::int64_t parts = sizes.parts;
  if (row >= sizes.rows) return;
  const auto statistic = [&](std::int64_t part, int which) -> double {
    return statistics[(part * sizes.kinds + which) * sizes.rows + row];
  };
  double maximum = statistic(0, 0);
  for (std::int64_t part = 1; part < parts; ++part) maximum = fmax(maximum, statistic(part, 0));
  double sum = 0.0;
  double target_logit = 0.0;
  for (std::int64_t part = 0; part < parts; ++part) {
    sum += statistic(part, 1) * exp(statistic(part, 0) - maximum);
    target_logit += statistic(part, 2);
  }
  const double result = maximum + log(sum);
  double expected_logit = target_logit;
  if (smoothing.amount > 0.0F) {
    double total = 0.0;
    for (std::int64_t part = 0; part < parts; ++part) total += statistic(part, 3);
    expected_logit += smoothing.amount * (total / static_cast<double>(smoothing.classes) - target_logit);
  }
  log_sum_exp[row] = static_cast<float>(result);
  losses[row] = targets[row] < 0 ? 0.0F : static_cast<float>(result - expected_logit);
}

/// What becomes of the logits of one row.
struct Gradient {
  float log_sum_exp, scale;
  std::int64_t target;  ///< outside the row where another rank holds it
  SmoothTarget smooth;

  __device__ __forceinline__ float at(float logit) const {
    return (__expf(logit - log_sum_exp) - smooth.everywhere) * scale;
  }
  /// (p - 1 + missing) * scale, from the unrounded probability: 1 - p loses too much where p is near 1.
  __device__ __forceinline__ float at_target(float logit) const {
    return (expm1f(logit - log_sum_exp) + smooth.missing) * scale;
  }

  template <typename T>
  __device__ __forceinline__ Pack<T> of(const Pack<T>& logits, std::int64_t first) const {
    Pack<T> result;
    for (int i = 0; i < Pack<T>::size; ++i) result.values[i] = from_f32<T>(at(to_f32(logits.values[i])));
    if (target >= first && target < first + Pack<T>::size)
      for (int i = 0; i < Pack<T>::size; ++i)
        if (target == first + i) result.values[i] = from_f32<T>(at_target(to_f32(logits.values[i])));
    return result;
  }
};

template <int group, typename T>
__global__ void __launch_bounds__(256)
    gradients_of_rows(T* logits, const std::int32_t* targets, const float* log_sum_exp, std::int64_t rows,
                      std::int64_t n, std::int64_t first_token, SmoothTarget smooth, float scale) {
  const std::int64_t row = std::int64_t{blockIdx.x} * (256 / group) + static_cast<int>(threadIdx.x) / group;
  if (row >= rows) return;
  T* x = logits + row * n;
  const AlignedRow<T> cut(x, n);
  const bool ignored = targets[row] < 0;
  const Gradient gradient{log_sum_exp[row], scale, targets[row] - first_token, smooth};
  for (std::int64_t edge = threadIdx.x % group; edge < cut.edges; edge += group) {
    const std::int64_t place = cut.place(edge);
    const float logit = to_f32(x[place]);
    x[place] = from_f32<T>(ignored ? 0.0F : place == gradient.target ? gradient.at_target(logit) : gradient.at(logit));
  }
  for_batches<group>(cut.packs, [&](auto count, std::int64_t first) {
    Pack<T> packs[count] = {};
    const auto place = [&](int i) { return cut.head + (first + i * group) * Pack<T>::size; };
    if (!ignored) {
      unrolled<count>([&](int i) { packs[i] = load_pack(x + place(i)); });
      unrolled<count>([&](int i) { packs[i] = gradient.of(packs[i], place(i)); });
    }
    unrolled<count>([&](int i) { store_pack(x + place(i), packs[i]); });
  });
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::cross_entropy_statistics(const CrossEntropyStatisticsArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  const std::int64_t rows = sizes.rows;
  const std::int64_t n = sizes.columns;
  if (rows == 0) return;
  for_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    for_group(n, [&](auto group) {
      launch(statistics_of_rows<group, T>, blocks_for(rows, 256 / group, rows), 256, state_->compute.get(),
             elements_of<T>(args.logits), args.targets.data<std::int32_t>(), rows, n, args.first_token,
             sizes.kinds == 4, writable<float>(args.statistics));
    });
  });
}

void CudaBackend::cross_entropy_loss(const CrossEntropyLossArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  if (sizes.rows == 0) return;
  launch(losses_of_rows, blocks_for(sizes.rows, 256, sizes.rows), 256, state_->compute.get(),
         elements_of<float>(args.statistics), args.targets.data<std::int32_t>(), sizes, args.smoothing,
         writable<float>(args.log_sum_exp), writable<float>(args.losses));
}

void CudaBackend::cross_entropy_gradient(const CrossEntropyGradientArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  const std::int64_t rows = sizes.rows;
  const std::int64_t n = sizes.columns;
  if (rows * n == 0) return;
  for_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    for_group(n, [&](auto group) {
      launch(gradients_of_rows<group, T>, blocks_for(rows, 256 / group, rows), 256, state_->compute.get(),
             writable<T>(args.logits), args.targets.data<std::int32_t>(), elements_of<float>(args.log_sum_exp), rows, n,
             args.first_token, SmoothTarget(args.smoothing), args.scale);
    });
  });
}

}  // namespace trireme
