// Connectionist temporal classification (Graves et al. 2006) in log space: forward and backward variables over the
// states of a text, its labels with a blank before, between and behind them. Sums of logarithms are float64, as errors
// add up over time; exp and log see only differences, for which floats do.
#include <array>
#include <cmath>

#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"
#include "kernels/ctc_shape.h"

namespace trireme {
namespace {

constexpr double never = -std::numeric_limits<double>::infinity();
constexpr std::int32_t blank = 0;
constexpr std::int32_t fills_up_mark = -2;

/// log(exp(a) + exp(b) + exp(c)). Not a number wins.
double log_sum(double a, double b, double c) {
  const double largest = std::max({a, b, c});
  if (!(largest > never)) return a + b + c;
  const float sum = exp_vector(static_cast<float>(a - largest)) + exp_vector(static_cast<float>(b - largest)) +
                    exp_vector(static_cast<float>(c - largest));
  return largest + static_cast<double>(std::log(sum));
}

/// The labels of one sample.
struct Text {
  Text(const std::int32_t* all, std::int64_t longest, std::int64_t classes, std::int64_t time_steps)
      : labels(all), steps(time_steps), fills_up(all[0] == fills_up_mark) {
    while (count < longest && labels[count] >= 0) ++count;
    std::int64_t needed = count;
    bool are_classes = true;
    for (std::int64_t i = 0; i < count; ++i) {
      are_classes = are_classes && labels[i] != blank && labels[i] < classes;
      if (i > 0 && labels[i] == labels[i - 1]) ++needed;
    }
    possible = are_classes && needed <= steps;
  }

  bool counts() const { return !fills_up && possible; }
  std::int64_t states() const { return 2 * count + 1; }
  std::int32_t label(std::int64_t state) const { return state % 2 == 0 ? blank : labels[state / 2]; }
  /// Whether a path may go from state - 2 to this one: it may leave out a blank between different labels.
  bool skips(std::int64_t state) const {
    return state % 2 == 1 && state >= 3 && labels[state / 2] != labels[state / 2 - 1];
  }

  const std::int32_t* labels;
  std::int64_t count = 0;
  std::int64_t steps;
  bool fills_up, possible = false;
};

/// What both passes read, and where.
template <typename T>
struct Batch {
  template <typename Args>
  Batch(const Args& args, const CtcSizes& of)
      : sizes(of),
        logits(args.logits.template data<T>()),
        labels(args.labels.template data<std::int32_t>()),
        lengths(data_or_null<std::int32_t>(args.lengths)),
        log_sum_exp(args.log_sum_exp.template data<float>()) {}

  Text text(std::int64_t b) const {
    const std::int64_t steps = lengths == nullptr ? sizes.time : std::clamp<std::int64_t>(lengths[b], 0, sizes.time);
    return {labels + b * sizes.longest, sizes.longest, sizes.classes, steps};
  }
  std::int64_t row(std::int64_t b, std::int64_t t) const { return b * sizes.time + t; }
  /// log of the probability of a class at a time step.
  double emission(std::int64_t row, std::int32_t label) const {
    return static_cast<double>(load(logits[row * sizes.classes + label])) - static_cast<double>(log_sum_exp[row]);
  }

  CtcSizes sizes;
  const T* logits;
  const std::int32_t* labels;
  const std::int32_t* lengths;
  const float* log_sum_exp;
};

/// states [time, states of the longest] = log of the probability of all beginnings of paths that end in each state.
template <typename T>
void forward_variables(const Batch<T>& batch, std::int64_t b, const Text& text, double* states) {
  for (std::int64_t t = 0; t < text.steps; ++t) {
    double* now = states + t * batch.sizes.states();
    const double* before = t == 0 ? nullptr : now - batch.sizes.states();
    for (std::int64_t s = 0; s < text.states(); ++s) {
      const double emission = batch.emission(batch.row(b, t), text.label(s));
      if (t == 0)
        now[s] = s < 2 ? emission : never + emission;
      else
        now[s] = log_sum(before[s], s > 0 ? before[s - 1] : never, text.skips(s) ? before[s - 2] : never) + emission;
    }
  }
}

/// log of the probability of the text, from its forward variables.
double log_probability(const Text& text, std::int64_t stride, const double* states) {
  if (text.steps == 0) return 0.0;
  const double* last = states + (text.steps - 1) * stride;
  return log_sum(last[text.states() - 1], text.count > 0 ? last[text.states() - 2] : never, never);
}

/// Forward variables become the probabilities of each state at each time step, given the text. `next` is scratch for
/// two rows of states.
template <typename T>
void occupancies(const Batch<T>& batch, std::int64_t b, const Text& text, double* next, double* states) {
  const std::int64_t stride = batch.sizes.states();
  const double whole = log_probability(text, stride, states);
  double* now = next + stride;
  for (std::int64_t t = text.steps - 1; t >= 0; --t) {
    double* alpha = states + t * stride;
    for (std::int64_t s = 0; s < text.states(); ++s) {
      double beta = s >= text.states() - 2 ? 0.0 : never;  // of all ends of paths that begin behind this state
      if (t < text.steps - 1)
        beta = log_sum(next[s], s + 1 < text.states() ? next[s + 1] : never,
                       s + 2 < text.states() && text.skips(s + 2) ? next[s + 2] : never);
      now[s] = beta + batch.emission(batch.row(b, t), text.label(s));
      alpha[s] = static_cast<double>(exp_vector(static_cast<float>(alpha[s] + beta - whole)));
    }
    std::swap(next, now);
  }
}

/// firsts[i] = the first of the labels that equals label i.
void find_firsts(const Text& text, std::int32_t* firsts) {
  for (std::int64_t i = 0; i < text.count; ++i)
    firsts[i] = static_cast<std::int32_t>(std::find(text.labels, text.labels + i, text.labels[i]) - text.labels);
}

/// x = (softmax - occupancy of each class) * scale. The occupancies are overwritten.
template <typename T>
void gradient_row(const Text& text, const std::int32_t* firsts, float log_sum_exp, float scale, double* occupancy,
                  std::int64_t classes, T* x) {
  for (std::int64_t s = 2; s < text.states(); s += 2) occupancy[0] += occupancy[s];
  for (std::int64_t i = 0; i < text.count; ++i)
    if (firsts[i] < i) occupancy[2 * firsts[i] + 1] += occupancy[2 * i + 1];
  const auto for_first_states = [&](const auto& body) {
    body(0);
    for (std::int64_t i = 0; i < text.count; ++i)
      if (firsts[i] == i) body(2 * i + 1);
  };
  // From the unrounded probability, before it is overwritten.
  for_first_states([&](std::int64_t s) {
    const float probability = exp_vector(load(x[text.label(s)]) - log_sum_exp);
    occupancy[s] = (static_cast<double>(probability) - occupancy[s]) * static_cast<double>(scale);
  });
#pragma omp simd
  for (std::int64_t i = 0; i < classes; ++i) store(x[i], exp_vector(load(x[i]) - log_sum_exp) * scale);
  for_first_states([&](std::int64_t s) { store(x[text.label(s)], static_cast<float>(occupancy[s])); });
}

}  // namespace

void CpuBackend::ctc_loss(const CtcLossArgs& args) {
  const CtcSizes sizes = sizes_of(args);
  CtcLossArgs a = args;
  float* log_sum_exp = a.log_sum_exp.data<float>();
  float* losses = a.losses.data<float>();
  float* counted = a.counted.data<float>();
  float* impossible = a.impossible.data<float>();
  double* states = a.states.data<double>();
  for_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const Batch<T> batch(args, sizes);
    for_rows(state_->threads, sizes.batch * sizes.time, sizes.classes, [&](std::int64_t row) {
      const RowStatistics statistics = row_statistics(batch.logits + row * sizes.classes, sizes.classes);
      log_sum_exp[row] = statistics.maximum + std::log(statistics.sum);
    });
    for_blocks(state_->threads, sizes.batch, 1, [&](std::int64_t b, std::int64_t) {
      const Text text = batch.text(b);
      counted[b] = text.counts() ? 1.0F : 0.0F;
      impossible[b] = !text.fills_up && !text.possible ? 1.0F : 0.0F;
      losses[b] = 0.0F;
      if (!text.counts()) return;
      double* own = states + batch.row(b, 0) * sizes.states();
      forward_variables(batch, b, text, own);
      losses[b] = static_cast<float>(-log_probability(text, sizes.states(), own));
    });
  });
}

void CpuBackend::ctc_gradient(const CtcGradientArgs& args) {
  const CtcSizes sizes = sizes_of(args);
  CtcGradientArgs a = args;
  Tensor scratch = allocate({sizes.batch, 2 * sizes.states()}, DType::f64);
  Tensor first_labels = allocate({sizes.batch, sizes.longest}, DType::i32);
  std::int32_t* firsts = first_labels.data<std::int32_t>();
  double* states = a.states.data<double>();
  for_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const Batch<T> batch(args, sizes);
    for_blocks(state_->threads, sizes.batch, 1, [&](std::int64_t b, std::int64_t) {
      const Text text = batch.text(b);
      if (!text.counts()) return;
      find_firsts(text, firsts + b * sizes.longest);
      occupancies(batch, b, text, scratch.data<double>() + b * 2 * sizes.states(),
                  states + batch.row(b, 0) * sizes.states());
    });
    T* logits = a.logits.data<T>();
    for_rows(state_->threads, sizes.batch * sizes.time, sizes.classes, [&](std::int64_t row) {
      const std::int64_t b = row / sizes.time;
      const Text text = batch.text(b);
      T* x = logits + row * sizes.classes;
      if (text.counts() && row % sizes.time < text.steps)
        gradient_row(text, firsts + b * sizes.longest, batch.log_sum_exp[row], args.scale,
                     states + row * sizes.states(), sizes.classes, x);
      else
        std::fill_n(x, sizes.classes, T{});
    });
  });
}

}  // namespace trireme
