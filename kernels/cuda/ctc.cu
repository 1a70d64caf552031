// Connectionist temporal classification (Graves et al. 2006) in log space: forward and backward variables over the
// states of a text, its labels with a blank before, between and behind them. A block takes a sample and goes through
// its time, a thread to every state. Sums of logarithms are float64, as errors add up over time; exp and log see only
// differences, for which floats do.
#include <cmath>

#include "kernels/ctc_shape.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

constexpr int threads = 128;
constexpr double never = -INFINITY;
constexpr std::int32_t blank = 0;
constexpr std::int32_t fills_up_mark = -2;

/// log(exp(a) + exp(b) + exp(c)). Not a number wins.
__device__ __forceinline__ double log_sum(double a, double b, double c) {
  const double largest = fmax(a, fmax(b, c));
  if (!(largest > never) || a != a || b != b || c != c) return a + b + c;
  const float sum = expf(static_cast<float>(a - largest)) + expf(static_cast<float>(b - largest)) +
                    expf(static_cast<float>(c - largest));
  return largest + static_cast<double>(logf(sum));
}

/// The labels of one sample.
struct Text {
  __device__ Text(const std::int32_t* all, const CtcSizes& sizes, std::int64_t time_steps)
      : labels(all), count(0), steps(time_steps), fills_up(all[0] == fills_up_mark) {
    std::int64_t needed = 0;
    bool are_classes = true;
    for (; count < sizes.longest && labels[count] >= 0; ++count) {
      are_classes = are_classes && labels[count] != blank && labels[count] < sizes.classes;
      needed += count > 0 && labels[count] == labels[count - 1] ? 2 : 1;
    }
    possible = are_classes && needed <= steps;
  }

  __device__ bool counts() const { return !fills_up && possible; }
  __device__ std::int64_t states() const { return 2 * count + 1; }
  __device__ std::int32_t label(std::int64_t state) const { return state % 2 == 0 ? blank : labels[state / 2]; }
  /// Whether a path may go from state - 2 to this one: it may leave out a blank between different labels.
  __device__ bool skips(std::int64_t state) const {
    return state % 2 == 1 && state >= 3 && labels[state / 2] != labels[state / 2 - 1];
  }

  const std::int32_t* labels;
  std::int64_t count, steps;
  bool fills_up, possible;
};

/// What both passes read, and where.
template <typename T>
struct Batch {
  template <typename Args>
  Batch(const Args& args, const CtcSizes& of)
      : sizes(of),
        logits(elements_of<T>(args.logits)),
        labels(args.labels.template data<std::int32_t>()),
        lengths(args.lengths.empty() ? nullptr : args.lengths.template data<std::int32_t>()),
        log_sum_exp(elements_of<float>(args.log_sum_exp)) {}

  __device__ Text text(std::int64_t b) const {
    std::int64_t steps = lengths == nullptr || lengths[b] > sizes.time ? sizes.time : lengths[b];
    if (steps < 0) steps = 0;
    return {labels + b * sizes.longest, sizes, steps};
  }
  __device__ std::int64_t stride() const { return 2 * sizes.longest + 1; }
  /// log of the probability of a class at a time step.
  __device__ double emission(std::int64_t row, std::int32_t label) const {
    return static_cast<double>(to_f32(logits[row * sizes.classes + label])) - static_cast<double>(log_sum_exp[row]);
  }

  CtcSizes sizes;
  const T* logits;
  const std::int32_t* labels;
  const std::int32_t* lengths;
  const float* log_sum_exp;
};

/// A block a row.
template <typename T>
__global__ void __launch_bounds__(threads) log_sums_of_rows(const T* logits, std::int64_t n, float* log_sum_exp) {
  const T* x = logits + blockIdx.x * n;
  float maximum = -3.402823466e38F;
  for (std::int64_t i = threadIdx.x; i < n; i += threads) maximum = fmaxf(maximum, to_f32(x[i]));
  maximum = block_maximum<threads>(maximum);
  float sum = 0.0F;
  for (std::int64_t i = threadIdx.x; i < n; i += threads) sum += __expf(to_f32(x[i]) - maximum);
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) log_sum_exp[blockIdx.x] = maximum + logf(sum);
}

/// log of the probability of a text, from its forward variables at the last time step.
__device__ __forceinline__ double log_probability(const Text& text, std::int64_t stride, const double* states) {
  if (text.steps == 0) return 0.0;
  const double* last = states + (text.steps - 1) * stride;
  return log_sum(last[text.states() - 1], text.count > 0 ? last[text.states() - 2] : never, never);
}

struct Outcomes {
  float *losses, *counted, *impossible;
};

/// states [batch, time, states of the longest] = log of the probability of all beginnings of paths that end in each
/// state. A block a sample.
template <typename T>
__global__ void __launch_bounds__(threads) forward_variables(Batch<T> batch, double* states, Outcomes out) {
  const std::int64_t b = blockIdx.x;
  const Text text = batch.text(b);
  double* own = states + b * batch.sizes.time * batch.stride();
  const bool counts = text.counts();
  for (std::int64_t t = 0; counts && t < text.steps; ++t) {
    double* now = own + t * batch.stride();
    const double* before = now - batch.stride();
    for (std::int64_t s = threadIdx.x; s < text.states(); s += threads) {
      const double emission = batch.emission(b * batch.sizes.time + t, text.label(s));
      if (t == 0)
        now[s] = s < 2 ? emission : never + emission;
      else
        now[s] = log_sum(before[s], s > 0 ? before[s - 1] : never, text.skips(s) ? before[s - 2] : never) + emission;
    }
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  out.losses[b] = counts ? static_cast<float>(-log_probability(text, batch.stride(), own)) : 0.0F;
  out.counted[b] = counts ? 1.0F : 0.0F;
  out.impossible[b] = !text.fills_up && !text.possible ? 1.0F : 0.0F;
}

/// Forward variables become the probabilities of each state at each time step, given the text. scratch has two rows of
/// states for each sample. firsts [batch, longest] = the first of a text's labels that equals each. A block a sample.
template <typename T>
__global__ void __launch_bounds__(threads)
    occupancies(Batch<T> batch, double* scratch, std::int32_t* firsts, double* states) {
  const std::int64_t b = blockIdx.x;
  const Text text = batch.text(b);
  if (!text.counts()) return;
  for (std::int64_t i = threadIdx.x; i < text.count; i += threads) {
    std::int32_t first = 0;
    while (text.labels[first] != text.labels[i]) ++first;
    firsts[b * batch.sizes.longest + i] = first;
  }
  const std::int64_t stride = batch.stride();
  double* own = states + b * batch.sizes.time * stride;
  double* next = scratch + b * 2 * stride;
  double* now = next + stride;
  const double whole = log_probability(text, stride, own);
  __syncthreads();  // the last row is about to be overwritten
  for (std::int64_t t = text.steps - 1; t >= 0; --t) {
    double* alpha = own + t * stride;
    for (std::int64_t s = threadIdx.x; s < text.states(); s += threads) {
      double beta = s >= text.states() - 2 ? 0.0 : never;  // of all ends of paths that begin behind this state
      if (t < text.steps - 1)
        beta = log_sum(next[s], s + 1 < text.states() ? next[s + 1] : never,
                       s + 2 < text.states() && text.skips(s + 2) ? next[s + 2] : never);
      now[s] = beta + batch.emission(b * batch.sizes.time + t, text.label(s));
      alpha[s] = static_cast<double>(expf(static_cast<float>(alpha[s] + beta - whole)));
    }
    __syncthreads();
    double* const filled = now;
    now = next;
    next = filled;
  }
}

/// logits = (softmax - occupancy of each class) * scale. The occupancies are overwritten. A block a time step.
template <typename T>
__global__ void __launch_bounds__(threads)
    gradients_of_rows(Batch<T> batch, const std::int32_t* all_firsts, float scale, double* states, T* logits) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t b = row / batch.sizes.time;
  const std::int64_t classes = batch.sizes.classes;
  const Text text = batch.text(b);
  T* x = logits + row * classes;
  if (!text.counts() || row % batch.sizes.time >= text.steps) {
    for (std::int64_t i = threadIdx.x; i < classes; i += threads) x[i] = from_f32<T>(0.0F);
    return;
  }
  const std::int32_t* firsts = all_firsts + b * batch.sizes.longest;
  double* occupancy = states + row * batch.stride();
  const float log_sum_exp = batch.log_sum_exp[row];
  // A thread for the blank and each label's first state: from the unrounded probability, before it is overwritten.
  for (std::int64_t i = threadIdx.x; i <= text.count; i += threads) {
    const std::int64_t first = i == 0 ? 0 : 2 * i - 1;
    if (i > 0 && firsts[i - 1] != i - 1) continue;
    double sum = 0.0;
    for (std::int64_t s = first; s < text.states(); s += 2)
      if (i == 0 || firsts[s / 2] == i - 1) sum += occupancy[s];
    const double probability = static_cast<double>(expf(to_f32(x[text.label(first)]) - log_sum_exp));
    occupancy[first] = (probability - sum) * static_cast<double>(scale);
  }
  __syncthreads();
  for (std::int64_t i = threadIdx.x; i < classes; i += threads)
    x[i] = from_f32<T>(__expf(to_f32(x[i]) - log_sum_exp) * scale);
  __syncthreads();
  for (std::int64_t i = threadIdx.x; i <= text.count; i += threads) {
    const std::int64_t first = i == 0 ? 0 : 2 * i - 1;
    if (i == 0 || firsts[i - 1] == i - 1) x[text.label(first)] = from_f32<T>(static_cast<float>(occupancy[first]));
  }
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::ctc_loss(const CtcLossArgs& args) {
  const CtcSizes sizes = sizes_of(args);
  if (sizes.batch == 0) return;
  const auto rows = static_cast<unsigned>(sizes.batch * sizes.time);
  for_type(args.logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Batch<T> batch(args, sizes);
    if (rows > 0)
      launch(log_sums_of_rows<T>, rows, threads, state_->compute.get(), batch.logits, sizes.classes,
             writable<float>(args.log_sum_exp));
    Tensor states = args.states;
    launch(forward_variables<T>, static_cast<unsigned>(sizes.batch), threads, state_->compute.get(), batch,
           states.data<double>(),
           Outcomes{writable<float>(args.losses), writable<float>(args.counted), writable<float>(args.impossible)});
  });
}

void CudaBackend::ctc_gradient(const CtcGradientArgs& args) {
  const CtcSizes sizes = sizes_of(args);
  if (args.logits.elements() == 0) return;
  Tensor states = args.states;
  Tensor scratch = allocate({sizes.batch, 2 * sizes.states()}, DType::f64);
  Tensor firsts = allocate({sizes.batch, sizes.longest}, DType::i32);
  for_type(args.logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Batch<T> batch(args, sizes);
    launch(occupancies<T>, static_cast<unsigned>(sizes.batch), threads, state_->compute.get(), batch,
           scratch.data<double>(), firsts.data<std::int32_t>(), states.data<double>());
    launch(gradients_of_rows<T>, static_cast<unsigned>(sizes.batch * sizes.time), threads, state_->compute.get(), batch,
           firsts.data<std::int32_t>(), args.scale, states.data<double>(), writable<T>(args.logits));
  });
}

}  // namespace trireme
