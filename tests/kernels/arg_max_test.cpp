#include "thread_invariance.h"

namespace trireme {
namespace {

struct Largest {
  Values places, probabilities;
};

Largest arg_max_reference(const Values& x, std::int64_t rows) {
  const auto n = static_cast<std::int64_t>(x.size()) / rows;
  Largest result;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto at = [&](std::int64_t i) { return x[static_cast<std::size_t>(row * n + i)]; };
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < n; ++i)
      if (!std::isnan(at(best)) && (std::isnan(at(i)) || at(i) > at(best))) best = i;
    double sum = 0.0;
    for (std::int64_t i = 0; i < n; ++i) sum += std::exp(at(i) - at(best));
    result.places.push_back(static_cast<double>(best));
    result.probabilities.push_back(1.0 / sum);
  }
  return result;
}

class ArgMax : public KernelTest {
 protected:
  static void check(const Values& x, std::int64_t rows) {
    const Largest wanted = arg_max_reference(x, rows);
    const auto n = static_cast<std::int64_t>(x.size()) / rows;
    const Tensor tensor = tensor_of({rows, n}, type(), x);
    const Tensor places = empty({rows}, DType::i32);
    const Tensor probabilities = empty({rows}, DType::f32);
    backend().arg_max({tensor, places, probabilities});
    EXPECT_EQ(values(places), wanted.places) << rows << " rows of " << n;
    expect_close_f32(probabilities, wanted.probabilities);
    const Tensor alone = empty({rows}, DType::i32);
    backend().arg_max({.x = tensor, .places = alone, .probabilities = {}});
    EXPECT_EQ(values(alone), wanted.places) << "without probabilities";
  }
};
TRIREME_KERNEL_CASES(ArgMax);

TEST_P(ArgMax, MatchesTheReference) {
  for (const auto& [rows, n] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {3, 7}, {70, 42}, {9, 2048}, {5, 2049}, {4, 6624}, {3, 6623}}) {
    Values x = values(random({rows, n}, 1, 3.0));
    check(x, rows);
    for (double& value : x) value = std::round(value);  // with many equal ones
    check(x, rows);
  }
}

/// The largest stands everywhere once: in the first and the last element, at the edges of packs and between.
TEST_P(ArgMax, FindsItAtEveryPlace) {
  for (const std::int64_t n : {41, 2055}) {
    const std::int64_t rows = std::min<std::int64_t>(n, 97);
    Values x(static_cast<std::size_t>(rows * n), -1.5);
    for (std::int64_t row = 0; row < rows; ++row)
      x[static_cast<std::size_t>(row * n + row * (n - 1) / (rows - 1))] = 2.0;
    check(x, rows);
  }
}

TEST_P(ArgMax, OfEqualElementsTheFirst) {
  check(Values(3 * 70, 0.25), 3);
  check(Values(2 * 5000, -1.0), 2);
}

TEST_P(ArgMax, SpecialNumbers) {
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  const Tensor x = tensor_of({5, 4}, type(), {1,         nan,       9,         nan,        //
                                              infinity,  1,         infinity,  2,          //
                                              -infinity, -infinity, -infinity, -infinity,  //
                                              -infinity, -3,        -infinity, -4,         //
                                              nan,       nan,       nan,       nan});
  const Tensor places = empty({5}, DType::i32);
  const Tensor probabilities = empty({5}, DType::f32);
  backend().arg_max({x, places, probabilities});
  EXPECT_EQ(values(places), (Values{1, 0, 0, 1, 0}));
  EXPECT_TRUE(std::isnan(values(probabilities)[0]));
  EXPECT_NEAR(values(probabilities)[3], 1.0 / (1.0 + std::exp(-1.0)), 1e-5);
}

TEST_P(ArgMax, WrongShapesAreRefused) {
  const Tensor x = random({3, 5}, 1);
  const Tensor places = empty({3}, DType::i32);
  EXPECT_THROW(backend().arg_max({x, empty({2}, DType::i32), {}}), Error);
  EXPECT_THROW(backend().arg_max({x, empty({3}, DType::f32), {}}), Error);
  EXPECT_THROW(backend().arg_max({x, places, empty({2}, DType::f32)}), Error);
  EXPECT_THROW(backend().arg_max({places, places, {}}), Error);
  EXPECT_THROW(backend().arg_max({empty({3, 0}), places, {}}), Error);
}

TEST(ArgMaxThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    constexpr std::int64_t rows = 70, n = 700;
    const Tensor x = from_double(cpu, {rows, n}, DType::f32, random_values(rows * n, 1));
    const Tensor places = cpu.allocate({rows}, DType::i32);
    const Tensor probabilities = cpu.allocate({rows}, DType::f32);
    cpu.arg_max({x, places, probabilities});
    return joined({to_double(cpu, places), to_double(cpu, probabilities)});
  });
}

}  // namespace
}  // namespace trireme
