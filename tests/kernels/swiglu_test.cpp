#include "thread_invariance.h"

namespace trireme {
namespace {

double silu(double x) { return x / (1.0 + std::exp(-x)); }

class Swiglu : public KernelTest {};
TRIREME_KERNEL_CASES(Swiglu);

const std::vector<std::pair<std::size_t, std::size_t>> sizes = {{1, 1}, {1, 9}, {3, 32}, {130, 77}};

TEST_P(Swiglu, MatchesTheReference) {
  for (const auto& [rows, n] : sizes) {
    const auto extent = [](std::size_t size) { return static_cast<std::int64_t>(size); };
    const Tensor x = random({extent(rows), extent(2 * n)}, 1, 3.0);
    const Tensor y = empty({extent(rows), extent(n)});
    backend().swiglu(x, y);
    const Values in = values(x);
    Values wanted(rows * n);
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t i = 0; i < n; ++i) wanted[row * n + i] = silu(in[row * 2 * n + i]) * in[row * 2 * n + n + i];
    expect_close(y, wanted);
  }
}

TEST_P(Swiglu, BackwardMatchesFiniteDifferences) {
  constexpr double step = 1e-5;
  for (const auto& [rows, n] : sizes) {
    const auto extent = [](std::size_t size) { return static_cast<std::int64_t>(size); };
    const Tensor x = random({extent(rows), extent(2 * n)}, 1, 3.0);
    const Tensor dy = random({extent(rows), extent(n)}, 2);
    const Tensor dx = empty({extent(rows), extent(2 * n)});
    backend().swiglu_backward(x, dy, dx);
    const Values in = values(x);
    const Values gradient = values(dy);
    Values wanted(in.size());
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t gate = row * 2 * n + i;
        const double slope = (silu(in[gate] + step) - silu(in[gate] - step)) / (2.0 * step);
        wanted[gate] = gradient[row * n + i] * in[gate + n] * slope;
        wanted[gate + n] = gradient[row * n + i] * silu(in[gate]);
      }
    }
    expect_close(dx, wanted);
  }
}

TEST(SwigluThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Tensor x = from_double(cpu, {203, 2 * 131}, DType::f32, random_values(203 * 2 * 131, 1));
    const Tensor y = cpu.allocate({203, 131}, DType::f32);
    const Tensor dx = cpu.allocate({203, 2 * 131}, DType::f32);
    cpu.swiglu(x, y);
    cpu.swiglu_backward(x, y, dx);
    return joined({to_double(cpu, y), to_double(cpu, dx)});
  });
}

}  // namespace
}  // namespace trireme
