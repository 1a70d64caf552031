#include <numeric>

#include "thread_invariance.h"

namespace trireme {
namespace {

class Reduction : public KernelTest {
 protected:
  static Tensor scalar(double value) { return tensor_of({1}, DType::f64, {value}); }
};
// The operations read f32 whatever the working type.
INSTANTIATE_TEST_SUITE_P(, Reduction,
                         testing::Values(KernelCase{DeviceKind::cpu, DType::f32, 1e-13},
                                         KernelCase{DeviceKind::cuda, DType::f32, 1e-13}),
                         name_of_parameter);

TEST_P(Reduction, AddsToWhatIsThere) {
  // The last size has blocks of more than the smallest size.
  for (const std::int64_t count : {1, 13, 4096, 4097, 1024 * 4096 + 5}) {
    const Tensor x = random_tensor({count}, DType::f32, 1);
    long double sum = 0.0L;
    long double squares = 0.0L;
    for (const double value : values(x)) {
      sum += value;
      squares += static_cast<long double>(value) * value;
    }
    const Tensor total = scalar(10.0);
    backend().add_sum(x, -0.5, total);
    EXPECT_NEAR(values(total)[0], static_cast<double>(10.0L - 0.5L * sum),
                1e-12 * static_cast<double>(squares + 10.0L));
    const Tensor norm = scalar(3.0);
    backend().add_sum_of_squares(x, norm);
    expect_close(norm, {static_cast<double>(3.0L + squares)});
  }
}

TEST_P(Reduction, CountsWhatIsNotNegative) {
  for (const std::int64_t count : {1, 13, 5000}) {
    Values targets(static_cast<std::size_t>(count), -1.0);
    for (std::size_t i = 0; i < targets.size(); i += 3) targets[i] = static_cast<double>(i % 2);
    const Tensor total = scalar(2.0);
    backend().add_count(tensor_of({count}, DType::i32, targets), total);
    EXPECT_EQ(values(total)[0], 2.0 + static_cast<double>((count + 2) / 3));
  }
}

TEST_P(Reduction, SquaresDoNotOverflowAsFloatsWould) {
  const Tensor norm = scalar(0.0);
  backend().add_sum_of_squares(tensor_of({2}, DType::f32, {0x1p100, 0x1p-100}), norm);
  EXPECT_EQ(values(norm)[0], 0x1p200);
}

TEST_P(Reduction, NotANumberIsSeen) {
  Values one_bad(5000, 1.0);
  one_bad[4999] = std::nan("");
  const Tensor norm = scalar(0.0);
  backend().add_sum_of_squares(tensor_of({5000}, DType::f32, one_bad), norm);
  EXPECT_TRUE(std::isnan(values(norm)[0]));
}

TEST_P(Reduction, TakesPartsThatBeginAnywhere) {
  const Tensor x = random_tensor({5000}, DType::f32, 1);
  const Values all = values(x);
  for (const std::int64_t first : {1, 4, 6}) {
    const Tensor norm = scalar(0.0);
    backend().add_sum_of_squares(x.view(first, {4900}), norm);
    expect_close(norm, {std::inner_product(all.begin() + first, all.begin() + first + 4900, all.begin() + first, 0.0)});
  }
}

class ColumnSums : public KernelTest {
 protected:
  static void check(const Tensor& x) {
    const std::int64_t n = x.shape().columns();
    const Tensor out = random_tensor({n}, DType::f32, 2);
    Values wanted = values(out);
    const Values terms = values(x);
    for (std::size_t i = 0; i < terms.size(); ++i) wanted[i % static_cast<std::size_t>(n)] += terms[i];
    backend().add_column_sums(x, out);
    expect_close_f32(out, wanted);
  }
};
TRIREME_KERNEL_CASES(ColumnSums);

TEST_P(ColumnSums, AreAddedInAnySize) {
  for (const auto& [rows, n] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {3, 8}, {2000, 24}, {700, 7}, {33, 515}, {40, 2056}, {1, 16000}})
    check(random({rows, n}, 1));
}

TEST_P(ColumnSums, TakePartsThatBeginAnywhere) {
  const Tensor x = random({1000}, 1);
  for (const std::int64_t first : {1, 2, 8}) check(x.view(first, {60, 16}));
}

TEST(ReductionThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Tensor x = from_double(cpu, {100003}, DType::f32, random_values(100003, 1));
    const Tensor sum = from_double(cpu, {1}, DType::f64, {0.0});
    const Tensor squares = from_double(cpu, {1}, DType::f64, {0.0});
    cpu.add_sum(x, 1.0 / 3.0, sum);
    cpu.add_sum_of_squares(x, squares);
    return joined({to_double(cpu, sum), to_double(cpu, squares)});
  });
}

}  // namespace
}  // namespace trireme
