#include "finite_differences.h"
#include "thread_invariance.h"

namespace trireme {
namespace {

struct Reference {
  Values sum, y, mean, inverse_deviation;
};

Reference norm_reference(NormKind kind, const Values& x, const Values& weight, const Values& bias, double epsilon) {
  const std::size_t n = weight.size();
  Reference result{x, Values(x.size()), {}, {}};
  for (std::size_t row = 0; row < x.size() / n; ++row) {
    const double* in = &x[row * n];
    double mean = 0.0;
    if (kind == NormKind::layer)
      for (std::size_t i = 0; i < n; ++i) mean += in[i] / static_cast<double>(n);
    double variance = 0.0;
    for (std::size_t i = 0; i < n; ++i) variance += (in[i] - mean) * (in[i] - mean) / static_cast<double>(n);
    const double scale = 1.0 / std::sqrt(variance + epsilon);
    for (std::size_t i = 0; i < n; ++i)
      result.y[row * n + i] = (in[i] - mean) * scale * weight[i] + (bias.empty() ? 0.0 : bias[i]);
    result.mean.push_back(mean);
    result.inverse_deviation.push_back(scale);
  }
  return result;
}

/// sum of y * dy, whose derivatives are what the backward pass must return.
double objective(NormKind kind, const Values& x, const Values& weight, const Values& bias, const Values& dy) {
  const Values y = norm_reference(kind, x, weight, bias, 1e-5).y;
  double total = 0.0;
  for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
  return total;
}

struct Gradients {
  Values dx, dweight, dbias;
};

Gradients backward_reference(NormKind kind, const Values& x, const Values& weight, const Values& dy) {
  const std::size_t n = weight.size();
  const Reference forward = norm_reference(kind, x, Values(n, 1.0), {}, 1e-5);
  Gradients result{Values(x.size()), Values(n), Values(n)};
  for (std::size_t row = 0; row < x.size() / n; ++row) {
    const double* normal = &forward.y[row * n];
    const double* gradient = &dy[row * n];
    double mean = 0.0;
    double slope = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      if (kind == NormKind::layer) mean += gradient[i] * weight[i] / static_cast<double>(n);
      slope += gradient[i] * weight[i] * normal[i] / static_cast<double>(n);
      result.dweight[i] += gradient[i] * normal[i];
      result.dbias[i] += gradient[i];
    }
    for (std::size_t i = 0; i < n; ++i)
      result.dx[row * n + i] = forward.inverse_deviation[row] * (gradient[i] * weight[i] - mean - normal[i] * slope);
  }
  return result;
}

Values sum_of(Values a, const Values& b) {
  std::transform(a.begin(), a.end(), b.begin(), a.begin(), std::plus<>());
  return a;
}

class Norm : public KernelTest {
 protected:
  static NormArgs arguments(NormKind kind, std::int64_t rows, std::int64_t n) {
    NormArgs args;
    args.kind = kind;
    args.x = random({rows, n}, 1, 2.0);
    args.weight = random({n}, 2);
    args.bias = random({n}, 3);
    args.y = empty({rows, n});
    if (kind == NormKind::layer) args.mean = empty({rows}, DType::f32);
    args.inverse_deviation = empty({rows}, DType::f32);
    return args;
  }
};
TRIREME_KERNEL_CASES(Norm);

constexpr std::array kinds = {NormKind::layer, NormKind::rms};
const std::vector<std::pair<std::int64_t, std::int64_t>> sizes = {{1, 1}, {1, 7}, {5, 1}, {3, 8}, {37, 67}, {9, 768}};

TEST_P(Norm, MatchesTheReference) {
  for (const NormKind kind : kinds) {
    for (const auto& [rows, n] : sizes) {
      const NormArgs args = arguments(kind, rows, n);
      backend().norm(args);
      const Reference wanted = norm_reference(kind, values(args.x), values(args.weight), values(args.bias), 1e-5);
      expect_close(args.y, wanted.y);
      if (kind == NormKind::layer) expect_close_f32(args.mean, wanted.mean);
      if (n > 1) expect_close_f32(args.inverse_deviation, wanted.inverse_deviation);
    }
  }
}

TEST_P(Norm, AddsTheResidualFirstAndWorksWithoutBias) {
  for (const NormKind kind : kinds) {
    NormArgs args = arguments(kind, 5, 35);
    args.residual = random({5, 35}, 4, 2.0);
    args.sum = empty({5, 35});
    args.bias = Tensor();
    backend().norm(args);
    Values sum = values(args.x);
    const Values residual = values(args.residual);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += residual[i];
    expect_close(args.sum, sum);
    // The backward pass sees the rounded sum, so that is what must have been normalised.
    expect_close(args.y, norm_reference(kind, values(args.sum), values(args.weight), {}, 1e-5).y);
  }
}

TEST_P(Norm, TakesEpsilonFromTheArguments) {
  NormArgs args = arguments(NormKind::rms, 2, 9);
  args.epsilon = 0.5F;
  backend().norm(args);
  expect_close(args.y, norm_reference(args.kind, values(args.x), values(args.weight), values(args.bias), 0.5).y);
}

TEST_P(Norm, IsAccurateFarFromZero) {
  NormArgs args = arguments(NormKind::layer, 2, 64);
  Values shifted = random_values(2 * 64, 5, 16.0);
  for (double& value : shifted) value += 1000.0;
  args.x = tensor_of({2, 64}, type(), shifted);
  backend().norm(args);
  const Values wanted = norm_reference(args.kind, values(args.x), values(args.weight), values(args.bias), 1e-5).y;
  expect_close(args.y, wanted);
}

TEST_P(Norm, BackwardMatchesFiniteDifferences) {
  for (const NormKind kind : kinds) {
    for (const auto& [rows, n] : {std::pair<std::int64_t, std::int64_t>{1, 3}, {4, 21}, {19, 8}}) {
      const NormArgs forward = arguments(kind, rows, n);
      backend().norm(forward);
      const Tensor dy = random({rows, n}, 6);
      const Values x = values(forward.x);
      const Values weight = values(forward.weight);
      const Values bias = values(forward.bias);
      const Values gradient = values(dy);

      const Tensor dx = empty({rows, n});
      backend().norm_backward_input(
          {kind, forward.x, dy, forward.weight, forward.mean, forward.inverse_deviation, Tensor(), dx});
      expect_close(dx, differences(x, [&](const Values& at) { return objective(kind, at, weight, bias, gradient); }),
                   std::max(tolerance(), 1e-4));

      const Tensor dweight = tensor_of({n}, DType::f32, Values(static_cast<std::size_t>(n), 1.0));
      const Tensor dbias = tensor_of({n}, DType::f32, Values(static_cast<std::size_t>(n), -2.0));
      backend().norm_backward_weight({kind, forward.x, dy, forward.mean, forward.inverse_deviation, dweight, dbias});
      Values wanted = differences(weight, [&](const Values& at) { return objective(kind, x, at, bias, gradient); });
      for (double& value : wanted) value += 1.0;
      expect_close_f32(dweight, wanted);
      wanted = differences(bias, [&](const Values& at) { return objective(kind, x, weight, at, gradient); });
      for (double& value : wanted) value -= 2.0;
      expect_close_f32(dbias, wanted);
    }
  }
}

TEST_P(Norm, BackwardAddsTheResidualGradientAndMayOverwriteIt) {
  for (const NormKind kind : kinds) {
    const NormArgs forward = arguments(kind, 6, 19);
    backend().norm(forward);
    const Tensor dy = random({6, 19}, 6);
    NormBackwardInputArgs args{kind,     forward.x,     dy, forward.weight, forward.mean, forward.inverse_deviation,
                               Tensor(), empty({6, 19})};
    backend().norm_backward_input(args);
    Values wanted = values(args.dx);
    args.residual_gradient = random({6, 19}, 7);
    args.dx = args.residual_gradient;
    const Values residual = values(args.residual_gradient);
    for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += residual[i];
    backend().norm_backward_input(args);
    expect_close(args.dx, wanted);
  }
}

// Long rows and many rows, in the lengths at which a GPU shares the work differently.
TEST_P(Norm, AllOfItMatchesTheFormulasInAnySize) {
  for (const NormKind kind : kinds) {
    for (const auto& [rows, n] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {700, 7}, {1100, 24}, {3, 515}, {3, 1000}, {2, 1600}, {2, 4096}, {1, 5000}, {1, 8200}}) {
      SCOPED_TRACE(n);
      NormArgs args = arguments(kind, rows, n);
      args.residual = random({rows, n}, 4, 2.0);
      args.sum = empty({rows, n});
      backend().norm(args);
      expect_close(args.sum, sum_of(values(args.x), values(args.residual)));
      const Values x = values(args.sum);
      const Values weight = values(args.weight);
      const Reference wanted = norm_reference(kind, x, weight, values(args.bias), 1e-5);
      expect_close(args.y, wanted.y);
      if (kind == NormKind::layer) expect_close_f32(args.mean, wanted.mean);
      expect_close_f32(args.inverse_deviation, wanted.inverse_deviation);

      const Tensor dy = random({rows, n}, 6);
      const Tensor residual_gradient = random({rows, n}, 7);
      const Gradients gradients = backward_reference(kind, x, weight, values(dy));
      const Tensor dx = empty({rows, n});
      backend().norm_backward_input(
          {kind, args.sum, dy, args.weight, args.mean, args.inverse_deviation, residual_gradient, dx});
      expect_close(dx, sum_of(gradients.dx, values(residual_gradient)));
      const Tensor dweight = random_tensor({n}, DType::f32, 8);
      const Tensor dbias = random_tensor({n}, DType::f32, 9);
      const Values dweight_before = values(dweight);
      const Values dbias_before = values(dbias);
      backend().norm_backward_weight({kind, args.sum, dy, args.mean, args.inverse_deviation, dweight, dbias});
      expect_close_f32(dweight, sum_of(gradients.dweight, dweight_before));
      expect_close_f32(dbias, sum_of(gradients.dbias, dbias_before));
    }
  }
}

TEST_P(Norm, BackwardWeightWorksWithoutBias) {
  const NormArgs forward = arguments(NormKind::rms, 70, 13);
  backend().norm(forward);
  const Tensor dy = random({70, 13}, 6);
  const Tensor dweight = tensor_of({13}, DType::f32, Values(13, 0.0));
  const Tensor same = tensor_of({13}, DType::f32, Values(13, 0.0));
  const Tensor dbias = tensor_of({13}, DType::f32, Values(13, 0.0));
  backend().norm_backward_weight(
      {NormKind::rms, forward.x, dy, Tensor(), forward.inverse_deviation, dweight, Tensor()});
  backend().norm_backward_weight({NormKind::rms, forward.x, dy, Tensor(), forward.inverse_deviation, same, dbias});
  EXPECT_EQ(values(dweight), values(same));
  EXPECT_NE(values(dweight), Values(13, 0.0));
}

TEST(NormThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    constexpr std::int64_t rows = 301;
    constexpr std::int64_t n = 515;
    const auto tensor = [&](const Shape& shape, std::uint64_t seed) {
      return from_double(cpu, shape, DType::f32, random_values(shape.elements(), seed));
    };
    const NormArgs forward{NormKind::layer,
                           1e-5F,
                           tensor({rows, n}, 1),
                           {},
                           {},
                           tensor({n}, 2),
                           tensor({n}, 3),
                           tensor({rows, n}, 9),
                           tensor({rows}, 9),
                           tensor({rows}, 9)};
    cpu.norm(forward);
    const Tensor dy = tensor({rows, n}, 4);
    const Tensor dx = tensor({rows, n}, 9);
    const Tensor dweight = tensor({n}, 5);
    const Tensor dbias = tensor({n}, 6);
    cpu.norm_backward_input(
        {NormKind::layer, forward.x, dy, forward.weight, forward.mean, forward.inverse_deviation, {}, dx});
    cpu.norm_backward_weight({NormKind::layer, forward.x, dy, forward.mean, forward.inverse_deviation, dweight, dbias});
    return joined({to_double(cpu, forward.y), to_double(cpu, dx), to_double(cpu, dweight), to_double(cpu, dbias)});
  });
}

}  // namespace
}  // namespace trireme
