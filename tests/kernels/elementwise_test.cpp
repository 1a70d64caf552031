#include <bit>

#include "thread_invariance.h"

namespace trireme {
namespace {

/// One element, and sizes around vectors, blocks and pieces of memory.
const std::vector<std::int64_t> sizes = {1, 9, 4096, 70001};

class Elementwise : public KernelTest {};
TRIREME_KERNEL_CASES(Elementwise);

TEST_P(Elementwise, AddsAndMayOverwriteAnOperand) {
  for (const std::int64_t count : sizes) {
    const Tensor x = random({count}, 1);
    const Tensor y = random({count}, 2);
    const Tensor out = empty({count});
    Values wanted = values(x);
    const Values second = values(y);
    for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += second[i];
    backend().add(x, y, out);
    expect_close(out, wanted);
    backend().add(x, y, y);
    EXPECT_EQ(values(y), values(out));
    backend().add(x, tensor_of({count}, type(), second), x);
    EXPECT_EQ(values(x), values(out));
  }
}

TEST_P(Elementwise, AddRefusesOtherSizes) {
  EXPECT_THROW(backend().add(random({4}, 1), random({5}, 1), empty({4})), Error);
}

TEST_P(Elementwise, ZeroClearsAllAndNothingElse) {
  for (const DType element_type : {type(), DType::f64, DType::i32}) {
    for (const std::int64_t count : sizes) {
      const Tensor whole = tensor_of({count + 2}, element_type, Values(static_cast<std::size_t>(count) + 2, 3.0));
      backend().zero(whole.view(1, {count}));
      Values wanted(static_cast<std::size_t>(count) + 2, 0.0);
      wanted.front() = wanted.back() = 3.0;
      EXPECT_EQ(values(whole), wanted);
    }
  }
}

TEST_P(Elementwise, CastsBothWaysAndCopiesEqualTypes) {
  for (const std::int64_t count : sizes) {
    const Tensor x = random({count}, 1, 100.0);
    for (const DType target : {DType::f32, DType::bf16}) {
      const Tensor to = empty({count}, target);
      backend().cast(x, to);
      EXPECT_EQ(values(to), values(tensor_of({count}, target, values(x))));
    }
  }
  const Tensor exact = random_tensor({33}, DType::f64, 2);
  const Tensor copy = empty({33}, DType::f64);
  backend().cast(exact, copy);
  EXPECT_EQ(values(copy), values(exact));
  EXPECT_THROW(backend().cast(exact, empty({33})), Error);
}

TEST_P(Elementwise, RoundsToNearestEvenAndKeepsInfinityAndNotANumber) {
  const double infinity = std::numeric_limits<double>::infinity();
  const Values inputs = {1.0 + 0x1p-8, 1.0 + 0x3p-8, 1.0 + 0x1.8p-8, -0.0,         infinity,
                         -infinity,    0x1p-140,     3.4e38,         std::nan(""), -1.0 - 0x1.fp-9};
  const Tensor to = empty({10}, DType::bf16);
  backend().cast(tensor_of({10}, DType::f32, inputs), to);
  const Values found = values(to);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const double wanted = to_float(to_bfloat16(static_cast<float>(inputs[i])));
    if (std::isnan(inputs[i])) {
      EXPECT_TRUE(std::isnan(found[i]));
    } else {
      EXPECT_EQ(std::bit_cast<std::uint64_t>(found[i]), std::bit_cast<std::uint64_t>(wanted)) << inputs[i];
    }
  }
}

TEST(ElementwiseThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Tensor x = from_double(cpu, {70001}, DType::f32, random_values(70001, 1));
    const Tensor half = cpu.allocate({70001}, DType::bf16);
    cpu.add(x, x, x);
    cpu.cast(x, half);
    return joined({to_double(cpu, x), to_double(cpu, half)});
  });
}

}  // namespace
}  // namespace trireme
