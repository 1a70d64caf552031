#include "tests/kernels/kernel_test.h"

namespace trireme {
namespace {

class Rotary : public KernelTest {};
TRIREME_KERNEL_CASES(Rotary);

RotaryArgs arguments(const Tensor& qkv, int head_size = 6) {
  RotaryArgs args;
  args.heads = 4;
  args.key_value_heads = 2;
  args.head_size = head_size;
  args.first_position = 3;
  args.qkv = qkv;
  return args;
}

TEST_P(Rotary, RotatesQueriesAndKeysAndLeavesValues) {
  for (const std::size_t size : {6, 32, 272}) {
    SCOPED_TRACE(size);
    const std::size_t half = size / 2;
    const Tensor qkv = random({10, 3, static_cast<std::int64_t>(8 * size)}, 1);
    Values wanted = values(qkv);
    for (std::size_t row = 0; row < 30; ++row) {
      const double position = 3.0 + static_cast<double>(row % 3);
      for (std::size_t head = 0; head < 6; ++head) {
        for (std::size_t i = 0; i < half; ++i) {
          const double angle = position * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
          double& x = wanted[(row * 8 + head) * size + i];
          double& y = wanted[(row * 8 + head) * size + i + half];
          const double old_x = x;
          x = old_x * std::cos(angle) - y * std::sin(angle);
          y = y * std::cos(angle) + old_x * std::sin(angle);
        }
      }
    }
    backend().rotary(arguments(qkv, static_cast<int>(size)));
    expect_close(qkv, wanted);
  }
}

TEST_P(Rotary, InverseRotatesBack) {
  const Tensor qkv = random({2, 70, 48}, 1);
  const Values before = values(qkv);
  RotaryArgs args = arguments(qkv);
  backend().rotary(args);
  args.inverse = true;
  backend().rotary(args);
  expect_close(qkv, before);
}

TEST_P(Rotary, ScoresDependOnDistanceAlone) {
  const Values head = random_values(48, 1);
  Values rows;
  for (int t = 0; t < 12; ++t) rows.insert(rows.end(), head.begin(), head.end());
  const Tensor qkv = tensor_of({1, 12, 48}, type(), rows);
  backend().rotary(arguments(qkv));
  const Values rotated = values(qkv);
  const auto score = [&](std::size_t query, std::size_t key) {
    double sum = 0.0;
    for (std::size_t d = 0; d < 6; ++d) sum += rotated[query * 48 + d] * rotated[key * 48 + 24 + d];
    return sum;
  };
  for (std::size_t t = 0; t < 8; ++t) EXPECT_NEAR(score(t + 4, t), score(4, 0), 10.0 * tolerance());
}

TEST_P(Rotary, OddHeadSizeFails) {
  RotaryArgs args = arguments(random({1, 2, 40}, 1));
  args.head_size = 5;
  EXPECT_THROW(backend().rotary(args), Error);
}

}  // namespace
}  // namespace trireme
