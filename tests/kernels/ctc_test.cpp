#include "finite_differences.h"
#include "thread_invariance.h"

namespace trireme {
namespace {

using Labels = std::vector<int>;

/// log of softmax over the classes, [steps, classes].
Values log_softmax(const double* logits, std::int64_t steps, std::int64_t classes) {
  Values result(static_cast<std::size_t>(steps * classes));
  for (std::int64_t t = 0; t < steps; ++t) {
    const double* x = logits + t * classes;
    const double maximum = *std::max_element(x, x + classes);
    double sum = 0.0;
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - maximum);
    for (std::int64_t c = 0; c < classes; ++c)
      result[static_cast<std::size_t>(t * classes + c)] = x[c] - maximum - std::log(sum);
  }
  return result;
}

/// What is left of a path when equal neighbours become one and blanks go.
Labels collapsed(const Labels& path) {
  Labels text;
  for (std::size_t i = 0; i < path.size(); ++i)
    if (path[i] != 0 && (i == 0 || path[i] != path[i - 1])) text.push_back(path[i]);
  return text;
}

/// -log of the sum over every path that collapses to the text: the definition.
double loss_by_enumeration(const double* logits, std::int64_t steps, std::int64_t classes, const Labels& text) {
  const Values log_probability = log_softmax(logits, steps, classes);
  std::int64_t paths = 1;
  for (std::int64_t t = 0; t < steps; ++t) paths *= classes;
  double sum = 0.0;
  for (std::int64_t number = 0; number < paths; ++number) {
    Labels path;
    double log_sum = 0.0;
    for (std::int64_t t = 0, rest = number; t < steps; ++t, rest /= classes) {
      path.push_back(static_cast<int>(rest % classes));
      log_sum += log_probability[static_cast<std::size_t>(t * classes + rest % classes)];
    }
    if (collapsed(path) == text) sum += std::exp(log_sum);
  }
  return -std::log(sum);
}

/// The same by summing over prefixes; infinite where no path collapses to the text.
double loss_by_prefixes(const double* logits, std::int64_t steps, std::int64_t classes, const Labels& text) {
  const Values log_probability = log_softmax(logits, steps, classes);
  const double never = -std::numeric_limits<double>::infinity();
  const auto log_add = [&](double a, double b) {
    const double larger = std::max(a, b);
    return larger == never ? never : larger + std::log(std::exp(a - larger) + std::exp(b - larger));
  };
  // Of paths that so far wrote i labels: those that end in a blank (or are empty), those that end in label i.
  Values blank(text.size() + 1, never);
  Values label(text.size() + 1, never);
  blank[0] = 0.0;
  for (std::int64_t t = 0; t < steps; ++t) {
    const auto at = [&](int c) { return log_probability[static_cast<std::size_t>(t * classes + c)]; };
    for (std::size_t i = text.size() + 1; i-- > 0;) {
      const double ended = log_add(blank[i], label[i]);
      if (i > 0) {
        const bool repeats = i > 1 && text[i - 1] == text[i - 2];
        const double from = log_add(blank[i - 1], repeats ? never : label[i - 1]);
        label[i] = log_add(label[i], from) + at(text[i - 1]);
      }
      blank[i] = ended + at(0);
    }
  }
  return -log_add(blank.back(), label.back());
}

struct Problem {
  std::int64_t time, classes;
  std::vector<Labels> texts;
  Values lengths = {};  ///< empty: all of the time

  std::int64_t batch() const { return static_cast<std::int64_t>(texts.size()); }
  std::int64_t longest() const {
    std::size_t most = 1;
    for (const Labels& text : texts) most = std::max(most, text.size());
    return static_cast<std::int64_t>(most) + 1;
  }
  std::int64_t steps(std::size_t b) const { return lengths.empty() ? time : static_cast<std::int64_t>(lengths[b]); }
  Values padded() const {
    Values all(static_cast<std::size_t>(batch() * longest()), -1.0);
    for (std::size_t b = 0; b < texts.size(); ++b)
      std::copy(texts[b].begin(), texts[b].end(), all.begin() + static_cast<std::ptrdiff_t>(b) * longest());
    return all;
  }
  double loss(const Values& logits, std::size_t b) const {
    return loss_by_prefixes(logits.data() + static_cast<std::int64_t>(b) * time * classes, steps(b), classes, texts[b]);
  }
};

CtcLossArgs arguments(Backend& backend, const Problem& p, const Tensor& logits) {
  CtcLossArgs args;
  args.logits = logits;
  args.labels = from_double(backend, {p.batch(), p.longest()}, DType::i32, p.padded());
  if (!p.lengths.empty()) args.lengths = from_double(backend, {p.batch()}, DType::i32, p.lengths);
  args.log_sum_exp = backend.allocate({p.batch(), p.time}, DType::f32);
  args.states = backend.allocate({p.batch(), p.time, 2 * p.longest() + 1}, DType::f64);
  args.losses = backend.allocate({p.batch()}, DType::f32);
  args.counted = backend.allocate({p.batch()}, DType::f32);
  args.impossible = backend.allocate({p.batch()}, DType::f32);
  return args;
}

CtcGradientArgs gradient_of(const CtcLossArgs& args, float scale) {
  return {args.logits, args.labels, args.lengths, args.log_sum_exp, args.states, scale};
}

class Ctc : public KernelTest {
 protected:
  static Tensor random_logits(const Problem& p, double size) { return random({p.batch(), p.time, p.classes}, 1, size); }
  /// Loss and gradient of texts that can all be written.
  static void check(const Problem& p, const Tensor& logits) {
    const Values given = values(logits);
    const CtcLossArgs args = arguments(backend(), p, logits);
    backend().ctc_loss(args);
    Values wanted;
    for (std::size_t b = 0; b < p.texts.size(); ++b) wanted.push_back(p.loss(given, b));
    expect_close_f32(args.losses, wanted);
    EXPECT_EQ(values(args.counted), Values(p.texts.size(), 1.0));
    EXPECT_EQ(values(args.impossible), Values(p.texts.size(), 0.0));
    backend().ctc_gradient(gradient_of(args, 0.25F));
    expect_close(logits, differences(given, [&](const Values& at) {
                   double sum = 0.0;
                   for (std::size_t b = 0; b < p.texts.size(); ++b) sum += 0.25 * p.loss(at, b);
                   return sum;
                 }));
  }
};
TRIREME_KERNEL_CASES(Ctc);

TEST_P(Ctc, LossIsThatOfAllAlignments) {
  const std::vector<Labels> texts = {{},     {1},    {2},       {1, 2},    {2, 2},       {1, 2, 1},
                                     {1, 1}, {2, 1}, {1, 1, 2}, {2, 1, 2}, {1, 2, 1, 2}, {2, 1, 1}};
  for (const std::int64_t time : {4, 5}) {
    const Problem p = {time, 3, texts};
    const Tensor logits = random_logits(p, 1.5);
    const Values given = values(logits);
    const CtcLossArgs args = arguments(backend(), p, logits);
    backend().ctc_loss(args);
    Values wanted;
    for (std::size_t b = 0; b < texts.size(); ++b) {
      wanted.push_back(loss_by_enumeration(given.data() + static_cast<std::int64_t>(b) * time * 3, time, 3, texts[b]));
      EXPECT_NEAR(p.loss(given, b), wanted.back(), 1e-9);  // the other tests' reference
    }
    expect_close_f32(args.losses, wanted);
  }
}

TEST_P(Ctc, GradientMatchesFiniteDifferences) {
  const Problem p = {9, 6, {{1, 2, 3}, {}, {5, 5, 2, 5}, {4}, {3, 1, 3, 1, 3}}};
  check(p, random_logits(p, 2.0));
}

TEST_P(Ctc, SamplesMayEndEarly) {
  const Problem p = {8, 5, {{1, 2}, {3}, {4, 4}, {}}, {5, 1, 3, 8}};
  const Tensor logits = random_logits(p, 2.0);
  check(p, logits);
  const Values gradient = values(logits);
  for (std::size_t b = 0; b < p.texts.size(); ++b)
    for (std::int64_t i = p.steps(b) * 5; i < 8 * 5; ++i)
      EXPECT_EQ(gradient[b * 40 + static_cast<std::size_t>(i)], 0.0);
}

TEST_P(Ctc, TextsOfMoreStatesThanABlockHasThreads) {
  Labels text;
  for (int i = 0; i < 70; ++i) text.push_back(1 + (i * i + i / 3) % 11);
  const Problem p = {110, 12, {text, {7, 7, 7}}};
  const Tensor logits = random_logits(p, 1.0);
  const Values given = values(logits);
  const CtcLossArgs args = arguments(backend(), p, logits);
  backend().ctc_loss(args);
  expect_close_f32(args.losses, {p.loss(given, 0), p.loss(given, 1)});
  backend().ctc_gradient(gradient_of(args, 1.0F));
  // A direction for each sample: all differences would take too long.
  const Values along = random_values(static_cast<std::int64_t>(given.size()), 2);
  const Values gradient = values(logits);
  for (std::size_t b = 0; b < 2; ++b) {
    double wanted = 0.0;
    double found = 0.0;
    constexpr double step = 1e-5;
    for (const double sign : {1.0, -1.0}) {
      Values at = given;
      for (std::size_t i = 0; i < at.size(); ++i) at[i] += sign * step * along[i];
      wanted += sign * p.loss(at, b) / (2.0 * step);
    }
    for (std::size_t i = b * 1320; i < (b + 1) * 1320; ++i) found += gradient[i] * along[i];
    EXPECT_NEAR(found, wanted, 10.0 * tolerance() * (1.0 + std::abs(wanted)));
  }
}

TEST_P(Ctc, SamplesThatHaveNoLossAreLeftOut) {
  // A filler; too little time; enough but for a blank between equals; the blank in a text; no class; a good one.
  const Problem p = {3, 4, {{-2}, {1, 2, 3, 1}, {2, 2, 1}, {1, 0, 2}, {1, 4}, {1, 3}, {2}}, {3, 3, 3, 3, 3, 3, 0}};
  const Tensor logits = random_logits(p, 1.0);
  const Values given = values(logits);
  const CtcLossArgs args = arguments(backend(), p, logits);
  backend().ctc_loss(args);
  expect_close_f32(args.losses, {0.0, 0.0, 0.0, 0.0, 0.0, p.loss(given, 5), 0.0});
  EXPECT_EQ(values(args.counted), (Values{0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(values(args.impossible), (Values{0, 1, 1, 1, 1, 0, 1}));
  backend().ctc_gradient(gradient_of(args, 1.0F));
  const Values gradient = values(logits);
  for (std::size_t i = 0; i < gradient.size(); ++i) EXPECT_EQ(gradient[i] != 0.0, i / 12 == 5) << i;
}

TEST_P(Ctc, TextsOfVanishingProbabilityHaveTheirGradient) {
  // Each step is all but sure of class 3: e^-90 for every label that the text wants instead.
  const Problem p = {12, 4, {{1, 2, 1, 2}, {2}}};
  Values sure(static_cast<std::size_t>(2 * 12 * 4), 0.0);
  for (std::size_t i = 3; i < sure.size(); i += 4) sure[i] = 90.0;
  const Tensor logits = tensor_of({2, 12, 4}, type(), sure);
  const Values given = values(logits);
  check(p, logits);
  EXPECT_GT(p.loss(given, 0), 1000.0);
}

TEST_P(Ctc, LargeLogitsDoNotOverflow) {
  const Problem p = {2, 3, {{1}, {2}}};
  check(p,
        tensor_of({2, 2, 3}, type(), {100, 98, -100, 97, 100, 99, -96, 96, 96, 96, -96, 95}));  // exp(90) is no float
}

TEST_P(Ctc, NotANumberIsSeen) {
  const Problem p = {5, 3, {{1}, {2}}};
  Values logits = random_values(30, 1);
  logits[4] = std::nan("");
  const CtcLossArgs args = arguments(backend(), p, tensor_of({2, 5, 3}, type(), logits));
  backend().ctc_loss(args);
  EXPECT_TRUE(std::isnan(values(args.losses)[0]));
  EXPECT_FALSE(std::isnan(values(args.losses)[1]));
}

TEST_P(Ctc, ShapesThatDoNotFitFail) {
  const Problem p = {5, 4, {{1}, {2}}};
  const CtcLossArgs good = arguments(backend(), p, random_logits(p, 1.0));
  CtcLossArgs bad = good;
  bad.states = backend().allocate({2, 5, 4}, DType::f64);
  EXPECT_THROW(backend().ctc_loss(bad), Error);
  EXPECT_THROW(backend().ctc_gradient(gradient_of(bad, 1.0F)), Error);
  bad = good;
  bad.labels = backend().allocate({3, 2}, DType::i32);
  EXPECT_THROW(backend().ctc_loss(bad), Error);
  bad = good;
  bad.lengths = backend().allocate({2}, DType::f32);
  EXPECT_THROW(backend().ctc_loss(bad), Error);
  bad = good;
  bad.counted = backend().allocate({3}, DType::f32);
  EXPECT_THROW(backend().ctc_loss(bad), Error);
}

TEST(CtcThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    Problem p = {40, 300, {}};
    for (int b = 0; b < 9; ++b) p.texts.push_back({1 + b, 2 + b, 2 + b, 1 + 7 * b, 250});
    const Tensor logits = from_double(cpu, {9, 40, 300}, DType::f32, random_values(std::int64_t{9} * 40 * 300, 1));
    const CtcLossArgs args = arguments(cpu, p, logits);
    cpu.ctc_loss(args);
    const Values losses = to_double(cpu, args.losses);
    cpu.ctc_gradient(gradient_of(args, 1.0F));
    return joined({losses, to_double(cpu, logits)});
  });
}

}  // namespace
}  // namespace trireme
