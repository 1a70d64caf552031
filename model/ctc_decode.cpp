#include "model/ctc_decode.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "kernels/error.h"

namespace trireme {
namespace {

constexpr std::int32_t blank = 0;

std::size_t steps_of(std::span<const float> logits, std::int64_t classes) {
  const auto width = static_cast<std::size_t>(classes);
  if (classes < 2 || logits.size() % width != 0)
    fail("{} logits of {} classes are no whole number of steps", logits.size(), classes);
  return logits.size() / width;
}

double log_sum(std::span<const float> row) {
  const float largest = *std::ranges::max_element(row);
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value - largest));
  return largest + std::log(sum);
}

constexpr double impossible = -std::numeric_limits<double>::infinity();

double log_add(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == impossible ? a : a + std::log1p(std::exp(b - a));
}

/// Log probabilities of all ways to have written a prefix so far that end with a blank, and with its last label.
struct Ways {
  double blank_last = impossible;
  double label_last = impossible;
  double all() const { return log_add(blank_last, label_last); }
};

using Labels = std::vector<std::int32_t>;
using Beam = std::vector<std::pair<Labels, Ways>>;

/// A step's classes that are worth a look, with their log probabilities.
std::vector<std::pair<std::int32_t, double>> likely(std::span<const float> row) {
  constexpr double least = -13.8;  // 1e-6
  const double total = log_sum(row);
  std::vector<std::pair<std::int32_t, double>> classes;
  for (std::size_t i = 0; i < row.size(); ++i)
    if (row[i] - total > least) classes.emplace_back(static_cast<std::int32_t>(i), row[i] - total);
  return classes;
}

/// What prefixes become in one step.
Beam extend(const Beam& beam, std::span<const float> row, int width) {
  std::map<Labels, Ways> next;
  const auto classes = likely(row);
  for (const auto& [prefix, ways] : beam) {
    for (const auto& [label, probability] : classes) {
      if (label == blank) {
        Ways& same = next[prefix];
        same.blank_last = log_add(same.blank_last, ways.all() + probability);
        continue;
      }
      const bool repeats = !prefix.empty() && prefix.back() == label;
      if (repeats) {
        Ways& same = next[prefix];
        same.label_last = log_add(same.label_last, ways.label_last + probability);
      }
      // Behind an equal label only a blank makes room for another.
      const double before = repeats ? ways.blank_last : ways.all();
      if (before == impossible) continue;
      Labels longer = prefix;
      longer.push_back(label);
      Ways& grown = next[std::move(longer)];
      grown.label_last = log_add(grown.label_last, before + probability);
    }
  }
  Beam result(next.begin(), next.end());
  const auto kept = static_cast<std::ptrdiff_t>(std::min<std::size_t>(result.size(), static_cast<std::size_t>(width)));
  std::ranges::partial_sort(result, result.begin() + kept, std::ranges::greater(),
                            [](const auto& entry) { return entry.second.all(); });
  result.resize(static_cast<std::size_t>(kept));
  return result;
}

/// Without repetitions and blanks. Confidence is the mean of the labels' probabilities.
DecodedText collapse(std::span<const std::int32_t> classes, std::span<const float> probabilities) {
  DecodedText text;
  std::int32_t before = blank;
  for (std::size_t step = 0; step < classes.size(); ++step) {
    if (classes[step] != blank && classes[step] != before) {
      text.labels.push_back(classes[step]);
      text.confidence += static_cast<double>(probabilities[step]);
    }
    before = classes[step];
  }
  if (!text.labels.empty()) text.confidence /= static_cast<double>(text.labels.size());
  return text;
}

}  // namespace

std::vector<DecodedText> decode_greedily(Backend& backend, const Tensor& logits, std::span<const std::int32_t> steps) {
  const std::int64_t batch = logits.shape()[0], time = logits.shape()[1];
  if (logits.shape().rank() != 3 || static_cast<std::int64_t>(steps.size()) != batch)
    fail("logits {} of {} samples: expected [samples, time, classes]", logits.shape().to_string(), steps.size());
  const Tensor places = backend.allocate({batch, time}, DType::i32);
  const Tensor likelihoods = backend.allocate({batch, time}, DType::f32);
  backend.arg_max({logits, places, likelihoods});
  std::vector<std::int32_t> classes(static_cast<std::size_t>(batch * time));
  std::vector<float> probabilities(classes.size());
  backend.download(places, classes.data());
  backend.download(likelihoods, probabilities.data());
  std::vector<DecodedText> texts;
  for (std::size_t sample = 0; sample < steps.size(); ++sample) {
    const std::size_t first = sample * static_cast<std::size_t>(time);
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(steps[sample], time));
    texts.push_back(collapse(std::span(classes).subspan(first, count), std::span(probabilities).subspan(first, count)));
  }
  return texts;
}

DecodedText decode_by_beam(std::span<const float> logits, std::int64_t classes, int width) {
  const std::size_t steps = steps_of(logits, classes);
  Beam beam = {{Labels(), Ways{.blank_last = 0.0}}};
  for (std::size_t step = 0; step < steps; ++step)
    beam = extend(beam, logits.subspan(step * static_cast<std::size_t>(classes), static_cast<std::size_t>(classes)),
                  width);
  return {beam.front().first, std::exp(beam.front().second.all())};
}

std::int64_t edit_distance(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  std::vector<std::int64_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::int64_t diagonal = std::exchange(row[0], static_cast<std::int64_t>(i) + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::int64_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

}  // namespace trireme
