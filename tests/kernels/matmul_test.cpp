#include <tuple>

#include "tests/kernels/kernel_test.h"
#include "tests/kernels/reference_activation.h"

namespace trireme {
namespace {

class Matmul : public KernelTest {};
TRIREME_KERNEL_CASES(Matmul);

/// a' b' + c; c is empty, a row, or a whole matrix.
Values product(const Values& a, const Values& b, std::int64_t m, std::int64_t n, std::int64_t k, bool transpose_a,
               bool transpose_b, const Values& c = {}) {
  Values out(static_cast<std::size_t>(m * n));
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0.0;
      for (std::int64_t l = 0; l < k; ++l) {
        const auto at_a = static_cast<std::size_t>(transpose_a ? l * m + i : i * k + l);
        const auto at_b = static_cast<std::size_t>(transpose_b ? j * k + l : l * n + j);
        sum += a[at_a] * b[at_b];
      }
      const auto at = static_cast<std::size_t>(i * n + j);
      out[at] = sum + (c.empty() ? 0.0 : c[at % c.size()]);
    }
  }
  return out;
}

MatmulArgs multiply(const Tensor& a, const Tensor& b, const Tensor& out) {
  MatmulArgs args;
  args.a = a;
  args.b = b;
  args.out = out;
  return args;
}

template <typename Function>
Values mapped(Values values, Function function) {
  std::transform(values.begin(), values.end(), values.begin(), function);
  return values;
}

TEST_P(Matmul, EveryTransposeAndSizesThatFitBlocksOrNone) {
  const std::vector<std::tuple<int, int, int>> sizes = {{1, 1, 1},    {3, 5, 7},   {17, 33, 65}, {64, 96, 128},
                                                        {130, 1, 70}, {8, 16, 24}, {48, 40, 136}};
  for (const auto& [m, n, k] : sizes) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        SCOPED_TRACE(fmt::format("m {} n {} k {} transposed {} {}", m, n, k, transpose_a, transpose_b));
        const Tensor a = random(transpose_a ? Shape{k, m} : Shape{m, k}, 1);
        const Tensor b = random(transpose_b ? Shape{n, k} : Shape{k, n}, 2);
        Tensor out = empty({m, n});
        MatmulArgs args = multiply(a, b, out);
        args.transpose_a = transpose_a;
        args.transpose_b = transpose_b;
        backend().matmul(args);
        expect_close(out, product(values(a), values(b), m, n, k, transpose_a, transpose_b));
      }
    }
  }
}

TEST_P(Matmul, ForwardOfALinearLayerKeepsThePreActivation) {
  const Tensor x = random({2, 9, 40}, 1);
  const Tensor weight = random({24, 40}, 2, 0.2);
  const Tensor bias = random({24}, 3);
  const Values wanted = product(values(x), values(weight), 18, 24, 40, false, true, values(bias));
  for (const Activation activation : every_activation) {
    for (const bool keep : {false, true}) {
      Tensor out = empty({2, 9, 24});
      MatmulArgs args = multiply(x, weight, out);
      args.transpose_b = true;
      args.bias = bias;
      args.activation = activation;
      if (keep) args.pre_activation = empty({2, 9, 24});
      backend().matmul(args);
      if (keep) expect_close(args.pre_activation, wanted);
      expect_close(out, mapped(wanted, [&](double value) { return reference_activation(activation, value); }));
    }
  }
}

TEST_P(Matmul, InputGradientGoesThroughTheActivation) {
  const Tensor dy = random({18, 24}, 1);
  const Tensor weight = random({24, 40}, 2, 0.2);
  const Tensor x = random({18, 40}, 3);
  for (const Activation activation : every_activation) {
    Tensor dx = empty({18, 40});
    MatmulArgs args = multiply(dy, weight, dx);
    args.activation = activation;
    args.gradient_at = x;
    backend().matmul(args);
    Values wanted = product(values(dy), values(weight), 18, 40, 24, false, false);
    const Values at = values(x);
    for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] *= reference_slope(activation, at[i]);
    expect_close(dx, wanted);
  }
}

TEST_P(Matmul, NotANumberGoesThroughActivations) {
  for (const Activation activation : every_activation) {
    MatmulArgs args =
        multiply(tensor_of({1, 16}, type(), Values(16, std::nan(""))), random({16, 16}, 1), empty({1, 16}));
    args.activation = activation;
    backend().zero(args.out);
    backend().matmul(args);
    for (const double value : values(args.out)) ASSERT_TRUE(std::isnan(value)) << static_cast<int>(activation);
  }
}

TEST_P(Matmul, ActivationsOfSizesThatFitNoBlock) {
  const Tensor x = random({6, 11}, 1);
  const Tensor weight = random({13, 11}, 2, 0.3);
  MatmulArgs args = multiply(x, weight, empty({6, 13}));
  args.transpose_b = true;
  args.bias = random({13}, 3);
  args.activation = Activation::gelu;
  args.pre_activation = empty({6, 13});
  backend().matmul(args);
  const Values wanted = product(values(x), values(weight), 6, 13, 11, false, true, values(args.bias));
  expect_close(args.pre_activation, wanted);
  expect_close(args.out, mapped(wanted, [](double value) { return reference_activation(Activation::gelu, value); }));

  MatmulArgs back = multiply(random({6, 11}, 4), random({11, 13}, 5, 0.3), empty({6, 13}));
  back.activation = Activation::gelu;
  back.gradient_at = args.pre_activation;
  Values gradient = product(values(back.a), values(back.b), 6, 13, 11, false, false);
  const Values at = values(back.gradient_at);
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] *= reference_slope(Activation::gelu, at[i]);
  backend().matmul(back);
  expect_close(back.out, gradient);
}

TEST_P(Matmul, BiasOfAnF32Result) {
  const Tensor x = random({16, 32}, 1);
  const Tensor weight = random({24, 32}, 2);
  MatmulArgs args = multiply(x, weight, empty({16, 24}, DType::f32));
  args.transpose_b = true;
  args.bias = random({24}, 3);
  backend().matmul(args);
  expect_close_f32(args.out, product(values(x), values(weight), 16, 24, 32, false, true, values(args.bias)));
}

TEST_P(Matmul, WeightGradientIsAddedInF32) {
  const Tensor dy = random({3, 50, 24}, 1);
  const Tensor x = random({3, 50, 40}, 2);
  Tensor dweight = random_tensor({24, 40}, DType::f32, 3);
  const Values wanted = product(values(dy), values(x), 24, 40, 150, true, false, values(dweight));
  MatmulArgs args = multiply(dy, x, dweight);
  args.transpose_a = true;
  args.accumulate = true;
  backend().matmul(args);
  expect_close_f32(dweight, wanted);
}

TEST_P(Matmul, BiasGradientComesWithTheWeightGradient) {
  for (const auto& [m, n, k] : std::vector<std::tuple<int, int, int>>{{24, 40, 150}, {64, 32, 128}, {7, 5, 33}}) {
    const Tensor dy = random({k, m}, 1);
    const Tensor x = random({k, n}, 2);
    for (const bool accumulate : {false, true}) {
      SCOPED_TRACE(fmt::format("m {} n {} k {} accumulate {}", m, n, k, accumulate));
      MatmulArgs args = multiply(dy, x, accumulate ? random_tensor({m, n}, DType::f32, 3) : empty({m, n}, DType::f32));
      args.transpose_a = true;
      args.accumulate = accumulate;
      args.bias_gradient = random_tensor({m}, DType::f32, 4);
      const Values start = accumulate ? values(args.out) : Values{};
      const Values dweight = product(values(dy), values(x), m, n, k, true, false, start);
      const Values ones(static_cast<std::size_t>(k), 1.0);
      const Values dbias = product(ones, values(dy), 1, m, k, false, false, values(args.bias_gradient));
      backend().matmul(args);
      expect_close_f32(args.out, dweight);
      expect_close_f32(args.bias_gradient, dbias);
    }
  }
}

TEST_P(Matmul, ColumnSumsAreAdded) {
  for (const std::int64_t n : {1, 63, 200}) {
    const Tensor x = random({5, 37, n}, 1);
    Tensor out = random_tensor({n}, DType::f32, 2);
    const Values ones(185, 1.0);
    const Values wanted = product(ones, values(x), 1, n, 185, false, false, values(out));
    backend().add_column_sums(x, out);
    expect_close_f32(out, wanted);
  }
}

TEST_P(Matmul, SteadyStateTakesNoMemoryFromTheSystem) {
  const Tensor x = random({32, 64}, 1);
  const Tensor weight = random({48, 64}, 2);
  MatmulArgs args = multiply(x, weight, empty({32, 48}));
  args.transpose_b = true;
  args.bias = random({48}, 3);
  backend().matmul(args);
  const auto before = backend().pool().statistics().system_allocations;
  for (int i = 0; i < 3; ++i) backend().matmul(args);
  EXPECT_EQ(backend().pool().statistics().system_allocations, before);
}

TEST_P(Matmul, ShapesAndTypesThatDoNotMatchFail) {
  const MatmulArgs good = multiply(random({4, 6}, 1), random({6, 5}, 2), empty({4, 5}));
  MatmulArgs bad = good;
  bad.transpose_b = true;
  EXPECT_THROW(backend().matmul(bad), Error);
  bad = good;
  bad.out = empty({4, 6});
  EXPECT_THROW(backend().matmul(bad), Error);
  bad = good;
  bad.bias = empty({4});
  EXPECT_THROW(backend().matmul(bad), Error);
  bad = good;
  bad.accumulate = true;
  bad.activation = Activation::gelu;
  EXPECT_THROW(backend().matmul(bad), Error);
  bad = good;
  bad.b = random_tensor({6, 5}, type() == DType::f32 ? DType::bf16 : DType::f32, 2);
  EXPECT_THROW(backend().matmul(bad), Error);
}

}  // namespace
}  // namespace trireme
