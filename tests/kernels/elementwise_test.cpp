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

/// As app/feed.cpp does: the next step's numbers arrive while this step's are summed.
TEST_P(Elementwise, UploadsBesideWhatIsEnqueued) {
  constexpr std::int64_t count = 70001;
  constexpr int steps = 5;
  const auto numbers = [](int step) { return std::vector<float>(count, static_cast<float>(1 << step)); };
  const std::vector<Tensor> ahead = {empty({count}, DType::f32), empty({count}, DType::f32)};
  const Tensor place = empty({count}, DType::f32);
  const Tensor sums = tensor_of({count}, DType::f32, Values(count, 0.0));
  backend().upload(numbers(0).data(), ahead[0]);
  for (int step = 0; step < steps; ++step) {
    backend().cast(ahead[static_cast<std::size_t>(step % 2)], place);
    backend().add(sums, place, sums);
    backend().upload_beside(numbers(step + 1).data(), ahead[static_cast<std::size_t>((step + 1) % 2)]);
    EXPECT_EQ(values(sums), Values(count, (2 << step) - 1)) << "step " << step;
  }
}

TEST_P(Elementwise, NormalisesPixels) {
  const std::array<float, 3> mean = {0.485F, 0.25F, 0.0F};
  const std::array<float, 3> deviation = {0.229F, 0.5F, 1.0F};
  for (const Shape& shape : {Shape{1, 16, 16, 1}, Shape{3, 5, 7, 3}, Shape{2, 64, 64, 3}, Shape{1, 3, 3, 2}}) {
    Values pixels(static_cast<std::size_t>(shape.elements()));
    Values wanted(pixels.size());
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      const std::size_t c = i % static_cast<std::size_t>(shape.columns());
      pixels[i] = static_cast<double>(i * 37 % 256);
      wanted[i] = (pixels[i] / 255 - static_cast<double>(mean[c])) / static_cast<double>(deviation[c]);
    }
    const Tensor y = empty(shape);
    backend().normalise_pixels(
        {.x = tensor_of(shape, DType::u8, pixels), .mean = mean, .deviation = deviation, .y = y});
    expect_close(y, wanted);
  }
  const Tensor four = tensor_of({1, 1, 1, 4}, DType::u8, {1, 2, 3, 4});
  EXPECT_THROW(backend().normalise_pixels({.x = four, .mean = mean, .deviation = deviation, .y = empty({1, 1, 1, 4})}),
               Error);
  EXPECT_THROW(backend().normalise_pixels({.x = random({3}, 1), .mean = mean, .deviation = deviation, .y = empty({3})}),
               Error);
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
