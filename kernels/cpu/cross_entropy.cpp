// Softmax cross-entropy over a vocabulary that may be split between ranks. The logits are read once for the
// statistics and overwritten once with their gradient; there is no second tensor of their size.
#include <cmath>

#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"
#include "kernels/cross_entropy_shape.h"

namespace trireme {
namespace {

/// x = (softmax - target) * scale; the target's class is outside [0, n) where another rank holds it.
template <typename T>
void gradient_row(T* x, std::int64_t n, float log_sum_exp, std::int64_t target, const SmoothTarget& smooth,
                  float scale) {
  const bool here = target >= 0 && target < n;
  // From the unrounded probability: 1 - p loses too much in bf16.
  const float at_target = here ? (exp_vector(load(x[target]) - log_sum_exp) - 1.0F + smooth.missing) * scale : 0.0F;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) store(x[i], (exp_vector(load(x[i]) - log_sum_exp) - smooth.everywhere) * scale);
  if (here) store(x[target], at_target);
}

template <typename T>
double sum_of_row(const T* x, std::int64_t n) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(load(x[i]));
  return sum;
}

}  // namespace

void CpuBackend::cross_entropy_statistics(const CrossEntropyStatisticsArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  const std::int64_t rows = sizes.rows;
  const std::int64_t n = sizes.columns;
  for_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* logits = args.logits.data<T>();
    const std::int32_t* targets = args.targets.data<std::int32_t>();
    Tensor result = args.statistics;
    float* out = result.data<float>();
    for_rows(state_->threads, rows, n, [&](std::int64_t row) {
      const T* x = logits + row * n;
      const RowStatistics statistics = row_statistics(x, n);
      const std::int64_t target = targets[row] - args.first_token;
      out[row] = statistics.maximum;
      out[rows + row] = statistics.sum;
      out[2 * rows + row] = targets[row] >= 0 && target >= 0 && target < n ? load(x[target]) : 0.0F;
      if (sizes.kinds == 4) out[3 * rows + row] = static_cast<float>(sum_of_row(x, n));
    });
  });
}

void CpuBackend::cross_entropy_loss(const CrossEntropyLossArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  const std::int64_t rows = sizes.rows;
  const std::int64_t parts = sizes.parts;
  CrossEntropyLossArgs a = args;
  const float* statistics = args.statistics.data<float>();
  const std::int32_t* targets = args.targets.data<std::int32_t>();
  float* log_sum_exp = a.log_sum_exp.data<float>();
  float* losses = a.losses.data<float>();
  const double smoothing = args.smoothing.amount;
  for_rows(state_->threads, rows, 64 * parts, [&](std::int64_t row) {  // a row costs some 64 additions a part
    const auto statistic = [&](std::int64_t part, int which) -> double {
      return statistics[(part * sizes.kinds + which) * rows + row];
    };
    double maximum = statistic(0, 0);
    for (std::int64_t part = 1; part < parts; ++part) maximum = std::max(maximum, statistic(part, 0));
    double sum = 0.0;
    double target_logit = 0.0;
    for (std::int64_t part = 0; part < parts; ++part) {
      sum += statistic(part, 1) * std::exp(statistic(part, 0) - maximum);
      target_logit += statistic(part, 2);
    }
    const double result = maximum + std::log(sum);
    double expected_logit = target_logit;
    if (smoothing > 0.0) {
      double total = 0.0;
      for (std::int64_t part = 0; part < parts; ++part) total += statistic(part, 3);
      expected_logit += smoothing * (total / static_cast<double>(args.smoothing.classes) - target_logit);
    }
    log_sum_exp[row] = static_cast<float>(result);
    losses[row] = targets[row] < 0 ? 0.0F : static_cast<float>(result - expected_logit);
  });
}

void CpuBackend::cross_entropy_gradient(const CrossEntropyGradientArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  const std::int64_t n = sizes.columns;
  const SmoothTarget smooth(args.smoothing);
  for_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int32_t* targets = args.targets.data<std::int32_t>();
    const float* log_sum_exp = args.log_sum_exp.data<float>();
    Tensor result = args.logits;
    T* logits = result.data<T>();
    for_rows(state_->threads, sizes.rows, n, [&](std::int64_t row) {
      T* x = logits + row * n;
      if (targets[row] < 0)
        std::fill_n(x, n, T{});
      else
        gradient_row(x, n, log_sum_exp[row], targets[row] - args.first_token, smooth, args.scale);
    });
  });
}

}  // namespace trireme
