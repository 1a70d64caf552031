#include "reference_activation.h"
#include "thread_invariance.h"

namespace trireme {
namespace {

class Activate : public KernelTest {
 protected:
  /// Both tails, both signs of zero, and enough of the middle; 10,007 elements cross blocks and vectors.
  static Tensor inputs() {
    Values points = random_values(10007, 1, 4.0);
    points[0] = 0.0;
    points[1] = -0.0;
    points[2] = 30.0;
    points[3] = -30.0;
    points[4] = 1e4;
    points[5] = -1e4;
    points[6] = 1e-6;
    points[7] = 3.0;
    points[8] = -3.0;
    return tensor_of({10007}, type(), points);
  }
  /// Compares every element on its own scale, so that large elements excuse no small one.
  static void expect_each_close(const Tensor& actual, const Values& wanted) {
    const Values found = values(actual);
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i)
      EXPECT_NEAR(found[i], wanted[i], tolerance() * (0.1 + std::abs(wanted[i]))) << "element " << i;
  }
};
TRIREME_KERNEL_CASES(Activate);

TEST_P(Activate, MatchesTheReference) {
  const Tensor x = inputs();
  for (const Activation activation : every_activation) {
    Values wanted = values(x);
    for (double& value : wanted) value = reference_activation(activation, value);
    const Tensor y = empty({10007});
    backend().activate(activation, x, y);
    expect_each_close(y, wanted);
  }
}

TEST_P(Activate, BackwardMatchesFiniteDifferencesInPlace) {
  const Tensor x = inputs();
  for (const Activation activation : every_activation) {
    const Tensor dy = random({10007}, 2);
    const Values points = values(x);
    Values wanted = values(dy);
    for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] *= reference_slope(activation, points[i]);
    backend().activate_backward(activation, x, dy, dy);
    expect_each_close(dy, wanted);
  }
}

TEST_P(Activate, BackwardLeavesTheGradientWhereDxIsAnotherTensor) {
  const Tensor x = random({3, 5}, 1);
  const Tensor dy = random({3, 5}, 2);
  const Values before = values(dy);
  const Tensor dx = empty({3, 5});
  backend().activate_backward(Activation::gelu, x, dy, dx);
  EXPECT_EQ(values(dy), before);
  EXPECT_NE(values(dx), before);
}

TEST_P(Activate, NotANumberStaysNotANumber) {
  const Tensor x = tensor_of({9}, type(), Values(9, std::nan("")));
  for (const Activation activation : every_activation) {
    const Tensor y = tensor_of({9}, type(), Values(9, 0.0));
    backend().activate(activation, x, y);
    for (const double value : values(y)) EXPECT_TRUE(std::isnan(value));
  }
}

TEST(ActivateThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Tensor x = from_double(cpu, {30011}, DType::f32, random_values(30011, 1));
    const Tensor y = cpu.allocate({30011}, DType::f32);
    const Tensor dx = cpu.allocate({30011}, DType::f32);
    cpu.activate(Activation::gelu, x, y);
    cpu.activate_backward(Activation::gelu, x, y, dx);
    return joined({to_double(cpu, y), to_double(cpu, dx)});
  });
}

}  // namespace
}  // namespace trireme
