#include "thread_invariance.h"

namespace trireme {
namespace {

/// Place of a row's target: classes in front of it.
int place_reference(const Values& x, int target) {
  const auto at = [&](int i) { return x[static_cast<std::size_t>(i)]; };
  int place = 0;
  for (int i = 0; i < static_cast<int>(x.size()); ++i) {
    if (i == target) continue;
    const bool better = std::isnan(at(i)) || std::isnan(at(target)) || at(i) > at(target);
    place += better || (at(i) == at(target) && i < target) ? 1 : 0;
  }
  return place;
}

class Accuracy : public KernelTest {
 protected:
  /// Statistics and places over `parts` equal pieces of the classes; the sum of the parts' places.
  static Values places_of(const Values& logits, const Values& targets, std::int64_t parts, std::int64_t kinds) {
    const auto rows = static_cast<std::int64_t>(targets.size());
    const std::int64_t n = static_cast<std::int64_t>(logits.size()) / rows / parts;
    const Tensor target_tensor = tensor_of({rows}, DType::i32, targets);
    const Tensor statistics = empty({parts, kinds, rows}, DType::f32);
    std::vector<Tensor> pieces;
    for (std::int64_t part = 0; part < parts; ++part) {
      Values piece;
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t i = part * n; i < (part + 1) * n; ++i)
          piece.push_back(logits[static_cast<std::size_t>(row * parts * n + i)]);
      pieces.push_back(tensor_of({rows, n}, type(), piece));
      backend().cross_entropy_statistics(
          {pieces.back(), target_tensor, part * n, statistics.view(part * kinds * rows, {kinds, rows})});
    }
    Values sum(targets.size());
    for (std::int64_t part = 0; part < parts; ++part) {
      const Tensor places = empty({rows}, DType::i32);
      backend().target_places({pieces[static_cast<std::size_t>(part)], target_tensor, part * n, statistics, places});
      const Values mine = values(places);
      std::transform(sum.begin(), sum.end(), mine.begin(), sum.begin(), std::plus<>());
    }
    return sum;
  }
  static void check(const Values& logits, const Values& targets, std::int64_t parts, std::int64_t kinds) {
    const std::size_t n = logits.size() / targets.size();
    Values wanted;
    for (std::size_t row = 0; row < targets.size(); ++row) {
      const Values x(&logits[row * n], &logits[row * n] + n);
      wanted.push_back(targets[row] < 0.0 ? 0.0 : place_reference(x, static_cast<int>(targets[row])));
    }
    EXPECT_EQ(places_of(logits, targets, parts, kinds), wanted) << n << " classes in " << parts << " parts";
  }
};
TRIREME_KERNEL_CASES(Accuracy);

TEST_P(Accuracy, PlacesMatchTheReferenceForAnySplitOfTheClasses) {
  for (const auto& [rows, classes] : {std::pair<std::int64_t, std::int64_t>{1, 6}, {17, 42}, {5, 6 * 1031}}) {
    Values targets(static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < targets.size(); ++i)
      targets[i] = i % 5 == 3 ? -1.0 : philox(7, 7, i)[0] % static_cast<std::uint32_t>(classes);
    Values logits = values(random({rows, classes}, 1));
    for (const std::int64_t parts : {1, 2, 6})
      for (const std::int64_t kinds : {3, 4}) check(logits, targets, parts, kinds);
    for (double& logit : logits) logit = std::round(2.0 * logit);  // with many equal ones
    for (const std::int64_t parts : {1, 2}) check(logits, targets, parts, 3);
  }
}

TEST_P(Accuracy, OfEqualLogitsTheFirstIsTheBest) {
  EXPECT_EQ(places_of(Values(12, 1.5), {0.0, 2.0, 1.0, -1.0}, 1, 3), (Values{0.0, 2.0, 1.0, 0.0}));
}

TEST_P(Accuracy, NotANumberIsNoHit) {
  const double nan = std::nan("");
  check({nan, nan, nan, 1.0, nan, 2.0, 3.0, 2.0, nan}, {2.0, 0.0, 1.0}, 1, 3);
}

TEST_P(Accuracy, HitsAreCountedByGroup) {
  const Tensor places = tensor_of({8}, DType::i32, {0.0, 4.0, 5.0, 0.0, 2.0, 9.0, 0.0, 0.0});
  const Tensor targets = tensor_of({8}, DType::i32, {3.0, 3.0, 0.0, -1.0, 1.0, 1.0, 8.0, 8.0});
  const Tensor groups = tensor_of({8}, DType::i32, {0.0, 2.0, 2.0, 2.0, 0.0, 0.0, -1.0, 3.0});
  const Tensor hits = tensor_of({3, 2}, DType::f64, {1.0, 2.0, 3.0, 4.0, 5.0, 6.0});
  backend().add_hits({places, targets, groups, 5, hits});
  EXPECT_EQ(values(hits), (Values{1.0 + 2.0, 2.0 + 3.0, 3.0, 4.0, 5.0 + 1.0, 6.0 + 2.0}));
  const Tensor all = tensor_of({1, 2}, DType::f64, {0.0, 0.0});
  backend().add_hits({places, targets, Tensor(), 1, all});
  EXPECT_EQ(values(all), (Values{3.0, 7.0}));
}

TEST_P(Accuracy, ManyRowsAreCounted) {
  Values places(3001);
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = static_cast<double>(i % 7);
  const Tensor hits = tensor_of({1, 2}, DType::f64, {0.0, 0.0});
  backend().add_hits({tensor_of({3001}, DType::i32, places), tensor_of({3001}, DType::i32, places), Tensor(), 3, hits});
  EXPECT_EQ(values(hits), (Values{429.0 * 3, 3001.0}));
}

TEST_P(Accuracy, TensorsThatDoNotFitFail) {
  const Tensor logits = random({4, 6}, 1);
  const Tensor targets = tensor_of({4}, DType::i32, Values(4, 0.0));
  const Tensor statistics = random_tensor({3, 4}, DType::f32, 1);
  EXPECT_THROW(backend().target_places({logits, targets, 0, statistics, empty({4}, DType::f32)}), Error);
  EXPECT_THROW(backend().target_places({logits, targets, 0, random_tensor({2, 4}, DType::f32, 1), targets}), Error);
  const Tensor hits = tensor_of({1, 2}, DType::f64, {0.0, 0.0});
  EXPECT_THROW(backend().add_hits({targets, tensor_of({3}, DType::i32, Values(3, 0.0)), Tensor(), 1, hits}), Error);
  EXPECT_THROW(backend().add_hits({targets, targets, Tensor(), 1, random_tensor({2}, DType::f32, 1)}), Error);
}

TEST(AccuracyThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Tensor logits = from_double(cpu, {70, 700}, DType::f32, random_values(70 * 700, 1));
    const Tensor targets = from_double(cpu, {70}, DType::i32, Values(70, 17.0));
    const Tensor statistics = cpu.allocate({1, 3, 70}, DType::f32);
    const Tensor places = cpu.allocate({70}, DType::i32);
    cpu.cross_entropy_statistics({logits, targets, 0, statistics});
    cpu.target_places({logits, targets, 0, statistics, places});
    return to_double(cpu, places);
  });
}

}  // namespace
}  // namespace trireme
