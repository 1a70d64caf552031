#include "thread_invariance.h"

namespace trireme {
namespace {

/// The contract, word by word.
Values dropout_reference(Values x, const Values& residual, const DropoutArgs& args) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::uint64_t element = args.first_element + i;
    const std::uint32_t word = philox(args.seed, args.stream, element / 4)[element % 4];
    const double factor = uniform_float(word) >= args.probability ? 1.0 / (1.0 - double{args.probability}) : 0.0;
    x[i] = x[i] * factor + (residual.empty() ? 0.0 : residual[i]);
  }
  return x;
}

class Dropout : public KernelTest {
 protected:
  static constexpr std::uint64_t seed = 0x123456789abcdefULL;
  static constexpr std::uint64_t stream = 0xfedcba987654321ULL;
};
TRIREME_KERNEL_CASES(Dropout);

TEST_P(Dropout, MatchesTheReferenceAnywhereInTheStream) {
  // The last positions carry into the upper half of the counter in the middle of a block.
  for (const std::uint64_t first : {0ULL, 1ULL, 1026ULL, (1ULL << 34U) - 3, (1ULL << 40U) + 7})
    for (const std::int64_t count : {1, 7, 1024, 5003}) {
      const DropoutArgs args{random({count}, 1), Tensor(), empty({count}), 0.3F, seed, stream, first};
      backend().dropout(args);
      expect_close(args.out, dropout_reference(values(args.x), {}, args));
    }
}

TEST_P(Dropout, AddsTheResidualInPlace) {
  for (const float probability : {0.0F, 0.5F}) {
    const Tensor x = random({17, 63}, 1);
    const DropoutArgs args{x, random({17, 63}, 2), x, probability, seed, stream, 3};
    const Values wanted = dropout_reference(values(x), values(args.residual), args);
    backend().dropout(args);
    expect_close(x, wanted);
  }
}

TEST_P(Dropout, ProbabilityZeroCopiesAndOneDropsAll) {
  const Tensor x = random({1500}, 1);
  const Tensor out = empty({1500});
  backend().dropout({x, Tensor(), out, 0.0F, seed, stream, 0});
  EXPECT_EQ(values(out), values(x));
  backend().dropout({x, Tensor(), out, 1.0F, seed, stream, 0});
  EXPECT_EQ(values(out), Values(1500, 0.0));
}

TEST_P(Dropout, DropsItsShareAndOtherwiseInOtherStreams) {
  const Tensor ones = tensor_of({20000}, type(), Values(20000, 1.0));
  const Tensor out = empty({20000});
  const Tensor other = empty({20000});
  backend().dropout({ones, Tensor(), out, 0.2F, seed, stream, 0});
  backend().dropout({ones, Tensor(), other, 0.2F, seed, stream + 1, 0});
  const Values kept = values(out);
  const auto dropped = static_cast<double>(std::count(kept.begin(), kept.end(), 0.0));
  EXPECT_NEAR(dropped / 20000.0, 0.2, 0.015);  // five standard deviations
  EXPECT_NE(values(other), kept);
}

TEST_P(Dropout, DoesNotDependOnHowTheStreamIsCut) {
  constexpr std::int64_t count = 3001;
  const Tensor x = random({count}, 1);
  const Tensor residual = random({count}, 2);
  const Tensor whole = empty({count});
  backend().dropout({x, residual, whole, 0.4F, seed, stream, 77});
  for (const std::int64_t cut : {1, 6, 1024, 1500, 2999}) {
    const Tensor pieces = empty({count});
    for (const auto& [first, size] : {std::pair{std::int64_t{0}, cut}, std::pair{cut, count - cut}})
      backend().dropout({x.view(first, {size}), residual.view(first, {size}), pieces.view(first, {size}), 0.4F, seed,
                         stream, 77 + static_cast<std::uint64_t>(first)});
    EXPECT_EQ(values(pieces), values(whole)) << "cut at " << cut;
  }
}

TEST(DropoutThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Tensor x = from_double(cpu, {20011}, DType::f32, random_values(20011, 1));
    const Tensor out = cpu.allocate({20011}, DType::f32);
    cpu.dropout({x, x, out, 0.1F, 1, 2, 3});
    return to_double(cpu, out);
  });
}

}  // namespace
}  // namespace trireme
