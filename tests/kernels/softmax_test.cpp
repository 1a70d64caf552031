#include "thread_invariance.h"

namespace trireme {
namespace {

Values softmax_reference(Values x, std::size_t n) {
  for (std::size_t first = 0; first < x.size(); first += n) {
    double maximum = x[first];
    for (std::size_t i = first; i < first + n; ++i) maximum = std::max(maximum, x[i]);
    double sum = 0.0;
    for (std::size_t i = first; i < first + n; ++i) sum += std::exp(x[i] - maximum);
    for (std::size_t i = first; i < first + n; ++i) x[i] = std::exp(x[i] - maximum) / sum;
  }
  return x;
}

class Softmax : public KernelTest {};
TRIREME_KERNEL_CASES(Softmax);

const std::vector<std::pair<std::int64_t, std::int64_t>> sizes = {{1, 1},  {7, 1},    {1, 13},   {33, 100}, {3, 5003},
                                                                  {5, 24}, {2, 1600}, {2, 4096}, {1, 5000}, {1, 8200}};

TEST_P(Softmax, MatchesTheReference) {
  for (const auto& [rows, n] : sizes) {
    const Tensor x = random({rows, n}, 1, 5.0);
    const Tensor y = empty({rows, n});
    backend().softmax(x, y);
    expect_close(y, softmax_reference(values(x), static_cast<std::size_t>(n)));
  }
}

TEST_P(Softmax, WorksInPlace) {
  for (const auto& [rows, n] : sizes) {
    const Tensor x = random({rows, n}, 1, 5.0);
    const Values wanted = softmax_reference(values(x), static_cast<std::size_t>(n));
    backend().softmax(x, x);
    expect_close(x, wanted);
  }
}

TEST_P(Softmax, LargeNumbersNeitherOverflowNorLoseMaskedElements) {
  const double infinity = std::numeric_limits<double>::infinity();
  const Tensor x = tensor_of({2, 4}, type(), {1024.0, 1024.0, -1024.0, 0.0, -infinity, -3e4, -infinity, -3e4});
  const Tensor y = empty({2, 4});
  backend().softmax(x, y);
  EXPECT_EQ(values(y), (Values{0.5, 0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.5}));
}

TEST_P(Softmax, TheMaximumMayComeLate) {
  Values rising(4099);
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<double>(i) / 64.0;
  const Tensor x = tensor_of({1, 4099}, type(), rising);
  const Tensor y = empty({1, 4099});
  backend().softmax(x, y);
  expect_close(y, softmax_reference(values(x), 4099));
}

TEST(SoftmaxThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Tensor x = from_double(cpu, {57, 1201}, DType::f32, random_values(57 * 1201, 1));
    cpu.softmax(x, x);
    return to_double(cpu, x);
  });
}

}  // namespace
}  // namespace trireme
