#include "thread_invariance.h"

namespace trireme {
namespace {

struct Reference {
  Values log_sum_exp, losses, gradient;
};

/// smoothing: the share of the target that all classes have alike.
Reference cross_entropy_reference(const Values& logits, const Values& targets, double scale, double smoothing = 0.0) {
  const std::size_t n = logits.size() / targets.size();
  Reference result;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const double* x = &logits[row * n];
    const double maximum = *std::max_element(x, x + n);
    double sum = 0.0;
    for (std::size_t i = 0; i < n; ++i) sum += std::exp(x[i] - maximum);
    const double log_sum = maximum + std::log(sum);
    const bool counts = targets[row] >= 0.0;
    result.log_sum_exp.push_back(log_sum);
    result.losses.push_back(0.0);
    for (std::size_t i = 0; i < n; ++i) {
      const double one_hot = static_cast<double>(i) == targets[row] ? 1.0 : 0.0;
      const double target = (1.0 - smoothing) * one_hot + smoothing / static_cast<double>(n);
      if (counts) result.losses.back() += target * (log_sum - x[i]);
      result.gradient.push_back(counts ? (std::exp(x[i] - log_sum) - target) * scale : 0.0);
    }
  }
  return result;
}

/// Columns [first, first + count) of a matrix with n columns.
Values columns_of(const Values& matrix, std::size_t n, std::size_t first, std::size_t count) {
  Values result;
  for (std::size_t row = 0; row < matrix.size() / n; ++row)
    for (std::size_t i = first; i < first + count; ++i) result.push_back(matrix[row * n + i]);
  return result;
}

class CrossEntropy : public KernelTest {
 protected:
  static Values random_targets(std::int64_t rows, std::int64_t vocabulary) {
    Values targets(static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < targets.size(); ++i)
      targets[i] = i % 5 == 3 ? -1.0 : philox(7, 7, i)[0] % static_cast<std::uint32_t>(vocabulary);
    return targets;
  }

  /// All three steps over a vocabulary cut into `parts` equal pieces, against the reference over the whole.
  static void check(std::int64_t rows, std::int64_t vocabulary, std::int64_t parts, const Values& targets,
                    const Values& whole, float smoothing = 0.0F) {
    const float scale = 0.25F;
    const Reference wanted = cross_entropy_reference(whole, targets, scale, static_cast<double>(smoothing));
    const LabelSmoothing smooth = {smoothing, vocabulary};
    const std::int64_t kinds = smoothing > 0.0F ? 4 : 3;
    const Tensor target_tensor = tensor_of({rows}, DType::i32, targets);
    const Tensor statistics = empty({parts, kinds, rows}, DType::f32);
    const std::int64_t n = vocabulary / parts;
    std::vector<Tensor> logits;
    for (std::int64_t part = 0; part < parts; ++part) {
      logits.push_back(tensor_of({rows, n}, type(),
                                 columns_of(whole, static_cast<std::size_t>(vocabulary),
                                            static_cast<std::size_t>(part * n), static_cast<std::size_t>(n))));
      backend().cross_entropy_statistics(
          {logits.back(), target_tensor, part * n, statistics.view(part * kinds * rows, {kinds, rows})});
    }
    const Tensor log_sum_exp = empty({rows}, DType::f32);
    const Tensor losses = empty({rows}, DType::f32);
    backend().cross_entropy_loss({statistics, target_tensor, log_sum_exp, losses, smooth});
    expect_close_f32(log_sum_exp, wanted.log_sum_exp);
    expect_close_f32(losses, wanted.losses);
    for (std::int64_t part = 0; part < parts; ++part) {
      const Tensor& mine = logits[static_cast<std::size_t>(part)];
      backend().cross_entropy_gradient({mine, target_tensor, log_sum_exp, part * n, scale, smooth});
      expect_close(mine, columns_of(wanted.gradient, static_cast<std::size_t>(vocabulary),
                                    static_cast<std::size_t>(part * n), static_cast<std::size_t>(n)));
    }
  }

  /// Random logits as the working type holds them.
  static Values rounded(std::int64_t rows, std::int64_t n, double scale) { return values(random({rows, n}, 1, scale)); }
};
TRIREME_KERNEL_CASES(CrossEntropy);

TEST_P(CrossEntropy, MatchesTheReferenceForAnySplitOfTheVocabulary) {
  for (const auto& [rows, vocabulary] :
       {std::pair<std::int64_t, std::int64_t>{1, 6}, {13, 42}, {6, 6 * 1031}, {3, 6 * 1360}})
    for (const std::int64_t parts : {1, 2, 6})
      check(rows, vocabulary, parts, random_targets(rows, vocabulary), rounded(rows, vocabulary, 3.0));
}

TEST_P(CrossEntropy, SmoothedTargetsMatchTheReferenceForAnySplitOfTheVocabulary) {
  for (const auto& [rows, vocabulary] : {std::pair<std::int64_t, std::int64_t>{1, 6}, {13, 42}, {3, 6 * 1031}})
    for (const std::int64_t parts : {1, 2, 6})
      for (const float smoothing : {0.1F, 0.5F})
        check(rows, vocabulary, parts, random_targets(rows, vocabulary), rounded(rows, vocabulary, 3.0), smoothing);
}

TEST_P(CrossEntropy, SmoothingNeedsTheSumsOfTheLogits) {
  const Tensor statistics = random_tensor({2, 3, 5}, DType::f32, 1);
  const Tensor targets = tensor_of({5}, DType::i32, Values(5, 0.0));
  const Tensor out = empty({5}, DType::f32);
  EXPECT_THROW(backend().cross_entropy_loss({statistics, targets, out, out, {0.1F, 10}}), Error);
  EXPECT_THROW(backend().cross_entropy_loss({statistics.reshape({5, 6}), targets, out, out}), Error);
  EXPECT_THROW(backend().cross_entropy_loss({statistics, targets, out, out, {1.0F, 10}}), Error);
}

TEST_P(CrossEntropy, AVocabularyOfOneTokenIsCertain) { check(3, 1, 1, {0.0, 0.0, -1.0}, {4.0, -2.0, 1.0}); }

TEST_P(CrossEntropy, IgnoredTargetsGiveNoLossAndNoGradient) { check(4, 10, 2, Values(4, -1.0), rounded(4, 10, 3.0)); }

TEST_P(CrossEntropy, LargeLogitsDoNotOverflow) {
  check(2, 4, 2, {0.0, 3.0}, {128.0, 125.0, -128.0, 126.0, -128.0, -128.0, -128.0, -132.0});  // exp(128) is no float
}

TEST_P(CrossEntropy, NotANumberIsSeen) {
  Values logits(100, 1.0);
  logits[60] = std::nan("");
  const Tensor target = tensor_of({1}, DType::i32, {3.0});
  const Tensor statistics = empty({3, 1}, DType::f32);
  const Tensor log_sum_exp = empty({1}, DType::f32);
  const Tensor loss = tensor_of({1}, DType::f32, {0.0});
  backend().cross_entropy_statistics({tensor_of({1, 100}, type(), logits), target, 0, statistics});
  backend().cross_entropy_loss({statistics, target, log_sum_exp, loss});
  EXPECT_TRUE(std::isnan(values(loss)[0]));
}

TEST_P(CrossEntropy, GradientMatchesFiniteDifferencesOfTheLoss) {
  constexpr double step = 1e-5;
  const Values targets = {2.0, -1.0, 6.0};
  Values logits = rounded(3, 7, 2.0);
  const Tensor gradient = tensor_of({3, 7}, type(), logits);
  const Tensor target_tensor = tensor_of({3}, DType::i32, targets);
  const Tensor log_sum_exp = tensor_of({3}, DType::f32, cross_entropy_reference(logits, targets, 1.0).log_sum_exp);
  backend().cross_entropy_gradient({gradient, target_tensor, log_sum_exp, 0, 3.0F});
  const auto loss = [&] {
    double total = 0.0;
    for (const double value : cross_entropy_reference(logits, targets, 1.0).losses) total += value;
    return total;
  };
  Values wanted;
  for (double& logit : logits) {
    const double middle = logit;
    logit = middle + step;
    const double above = loss();
    logit = middle - step;
    wanted.push_back(3.0 * (above - loss()) / (2.0 * step));
    logit = middle;
  }
  expect_close(gradient, wanted);
}

TEST_P(CrossEntropy, NearlyCertainTargetsKeepTheirSmallGradient) {
  const Tensor logits = tensor_of({1, 3}, type(), {12.0, 0.0, 0.0});
  const Tensor target = tensor_of({1}, DType::i32, {0.0});
  const double log_sum_exp = std::log(std::exp(12.0) + 2.0);
  backend().cross_entropy_gradient({logits, target, tensor_of({1}, DType::f32, {log_sum_exp}), 0, 1.0F});
  EXPECT_NEAR(values(logits)[0], std::expm1(12.0 - log_sum_exp), 1e-6);  // 1 - 1.2e-5 is 1 in bf16
}

TEST(CrossEntropyThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    constexpr std::int64_t rows = 70;
    constexpr std::int64_t n = 700;
    const Tensor logits = from_double(cpu, {rows, n}, DType::f32, random_values(rows * n, 1));
    const Tensor targets = from_double(cpu, {rows}, DType::i32, Values(rows, 17.0));
    const Tensor statistics = cpu.allocate({1, 3, rows}, DType::f32);
    const Tensor log_sum_exp = cpu.allocate({rows}, DType::f32);
    const Tensor losses = cpu.allocate({rows}, DType::f32);
    cpu.cross_entropy_statistics({logits, targets, 0, statistics});
    cpu.cross_entropy_loss({statistics, targets, log_sum_exp, losses});
    cpu.cross_entropy_gradient({logits, targets, log_sum_exp, 0, 1.0F});
    return joined({to_double(cpu, statistics), to_double(cpu, losses), to_double(cpu, logits)});
  });
}

}  // namespace
}  // namespace trireme
