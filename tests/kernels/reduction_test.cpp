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
