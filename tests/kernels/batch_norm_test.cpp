#include "finite_differences.h"
#include "thread_invariance.h"

namespace trireme {
namespace {

constexpr double epsilon = 1e-5;

/// What the sums of a batch turn into, as the layer does on the host.
struct Moments {
  Values mean, inverse_deviation;
};

Moments moments_of(const Values& totals, const Values& shift, double count) {
  Moments result;
  const std::size_t channels = shift.size();
  for (std::size_t c = 0; c < channels; ++c) {
    const double mean = totals[c] / count;
    result.mean.push_back(shift[c] + mean);
    result.inverse_deviation.push_back(1.0 / std::sqrt(totals[channels + c] / count - mean * mean + epsilon));
  }
  return result;
}

Moments moments_reference(const Values& x, std::size_t channels) {
  const std::size_t count = x.size() / channels;
  const auto rows = static_cast<double>(count);
  Moments result{Values(channels), Values(channels)};
  for (std::size_t i = 0; i < x.size(); ++i) result.mean[i % channels] += x[i] / rows;
  Values variance(channels);
  for (std::size_t i = 0; i < x.size(); ++i)
    variance[i % channels] += std::pow(x[i] - result.mean[i % channels], 2) / rows;
  for (std::size_t c = 0; c < channels; ++c) result.inverse_deviation[c] = 1.0 / std::sqrt(variance[c] + epsilon);
  return result;
}

struct Inputs {
  Values x, weight, bias, residual;
  bool relu = false;
};

Values batch_norm_reference(const Inputs& in) {
  const std::size_t channels = in.weight.size();
  const Moments moments = moments_reference(in.x, channels);
  Values y(in.x.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t c = i % channels;
    y[i] = (in.x[i] - moments.mean[c]) * moments.inverse_deviation[c] * in.weight[c] + in.bias[c];
    if (!in.residual.empty()) y[i] += in.residual[i];
    if (in.relu) y[i] = std::max(y[i], 0.0);
  }
  return y;
}

/// Differences of sum of y * dy, the gradients that the backward pass must return, in one of the inputs.
Values gradient_reference(const Inputs& inputs, Values Inputs::*at, const Values& dy) {
  Inputs changed = inputs;
  return differences(inputs.*at, [&](const Values& values) {
    changed.*at = values;
    const Values y = batch_norm_reference(changed);
    double total = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
    return total;
  });
}

class BatchNorm : public KernelTest {
 protected:
  static BatchNormArgs arguments(const Shape& shape, bool with_residual, bool relu) {
    const Shape channels = {shape.columns()};
    BatchNormArgs args;
    args.x = random(shape, 1, 2.0);
    args.weight = random(channels, 2);
    args.bias = random(channels, 3);
    if (with_residual) args.residual = random(shape, 4);
    args.relu = relu;
    args.y = empty(shape);
    return args;
  }

  static Values totals_of(const Tensor& x, const Tensor& shift) {
    const Tensor totals = empty({2, x.shape().columns()}, DType::f32);
    backend().batch_norm_statistics({x, shift, totals});
    return values(totals);
  }

  static void normalise(BatchNormArgs& args, const Moments& moments) {
    const Shape channels = {args.x.shape().columns()};
    args.mean = tensor_of(channels, DType::f32, moments.mean);
    args.inverse_deviation = tensor_of(channels, DType::f32, moments.inverse_deviation);
    backend().batch_norm(args);
  }

  /// The whole forward pass.
  static void forward(BatchNormArgs& args) {
    const Tensor shift = random_tensor({args.x.shape().columns()}, DType::f32, 5);
    normalise(args, moments_of(totals_of(args.x, shift), values(shift), static_cast<double>(args.x.shape().rows())));
  }

  static Inputs inputs_of(const BatchNormArgs& args) {
    return {values(args.x), values(args.weight), values(args.bias),
            args.residual.empty() ? Values() : values(args.residual), args.relu};
  }
};
TRIREME_KERNEL_CASES(BatchNorm);

const std::vector<Shape> shapes = {{2, 1}, {5, 3}, {37, 67}, {2, 5, 6, 8}, {1000, 33}, {70, 264}};

TEST_P(BatchNorm, StatisticsAreSumsAroundTheShift) {
  for (const Shape& shape : shapes) {
    SCOPED_TRACE(shape.to_string());
    const Tensor x = random(shape, 1, 2.0);
    const Tensor shift = random_tensor({shape.columns()}, DType::f32, 2);
    const Values at = values(x);
    const Values around = values(shift);
    Values wanted(2 * around.size());
    for (std::size_t i = 0; i < at.size(); ++i) {
      const double distance = at[i] - around[i % around.size()];
      wanted[i % around.size()] += distance;
      wanted[around.size() + i % around.size()] += distance * distance;
    }
    expect_values_close(totals_of(x, shift), wanted, 1e-5);
  }
}

TEST_P(BatchNorm, VarianceIsAccurateFarFromZero) {
  Values far = random_values(std::int64_t{5000} * 3, 5, 16.0);
  for (double& value : far) value += 1000.0;
  const Tensor x = tensor_of({5000, 3}, type(), far);
  const Tensor shift = tensor_of({3}, DType::f32, {1000.0, 1001.0, 997.0});
  const Moments moments = moments_of(totals_of(x, shift), values(shift), 5000);
  const Moments wanted = moments_reference(values(x), 3);
  expect_values_close(moments.mean, wanted.mean, 1e-6);
  expect_values_close(moments.inverse_deviation, wanted.inverse_deviation, 1e-5);
}

TEST_P(BatchNorm, MomentsComeFromTheSumsAndAreTracked) {
  constexpr std::int64_t channels = 67;
  const Tensor x = random({50, channels}, 1, 2.0);
  BatchNormMomentsArgs args;
  args.running_mean = args.shift = random_tensor({channels}, DType::f32, 2);
  args.running_variance = random_tensor({channels}, DType::f32, 3);
  args.totals = tensor_of({2, channels}, DType::f32, totals_of(x, args.shift));
  args.count = 50;
  args.epsilon = static_cast<float>(epsilon);
  args.mean = empty({channels}, DType::f32);
  args.inverse_deviation = empty({channels}, DType::f32);
  args.track_mean = random_tensor({channels}, DType::f32, 4);
  args.track_variance = random_tensor({channels}, DType::f32, 5);
  args.track_factor = 0.25;
  const Moments wanted = moments_reference(values(x), channels);
  Values track_mean = values(args.track_mean);
  Values track_variance = values(args.track_variance);
  for (std::size_t c = 0; c < channels; ++c) {
    const double variance = std::pow(wanted.inverse_deviation[c], -2) - epsilon;
    track_mean[c] += 0.25 * (wanted.mean[c] - values(args.running_mean)[c]);
    track_variance[c] += 0.25 * (variance * 50.0 / 49.0 - values(args.running_variance)[c]);
  }
  backend().batch_norm_moments(args);
  expect_close_f32(args.mean, wanted.mean);
  expect_close_f32(args.inverse_deviation, wanted.inverse_deviation);
  expect_close_f32(args.track_mean, track_mean);
  expect_close_f32(args.track_variance, track_variance);

  args.track_mean = args.track_variance = Tensor();
  args.mean = empty({channels}, DType::f32);
  backend().batch_norm_moments(args);
  expect_close_f32(args.mean, wanted.mean);
}

TEST_P(BatchNorm, WithoutSumsTheRunningStatisticsAreTaken) {
  BatchNormMomentsArgs args;
  args.running_mean = random_tensor({5}, DType::f32, 2);
  args.running_variance = tensor_of({5}, DType::f32, {0.0, 0.25, 1.0, 4.0, 100.0});
  args.epsilon = static_cast<float>(epsilon);
  args.mean = empty({5}, DType::f32);
  args.inverse_deviation = empty({5}, DType::f32);
  backend().batch_norm_moments(args);
  EXPECT_EQ(values(args.mean), values(args.running_mean));
  Values wanted = values(args.running_variance);
  for (double& value : wanted) value = 1.0 / std::sqrt(value + epsilon);
  expect_close_f32(args.inverse_deviation, wanted);
  args.track_mean = args.track_variance = random_tensor({5}, DType::f32, 3);
  EXPECT_THROW(backend().batch_norm_moments(args), Error) << "nothing to track";
  args.track_mean = Tensor();
  args.running_mean = Tensor();
  EXPECT_THROW(backend().batch_norm_moments(args), Error);
}

TEST_P(BatchNorm, VarianceOfEqualValuesIsNotNegative) {
  BatchNormMomentsArgs args;
  args.shift = tensor_of({2}, DType::f32, {0.0, 0.0});
  args.totals = tensor_of({2, 2}, DType::f32, {30.0, std::nan(""), 89.9999, 1.0});  // of ten times 3, rounded down
  args.count = 10;
  args.mean = empty({2}, DType::f32);
  args.inverse_deviation = empty({2}, DType::f32);
  backend().batch_norm_moments(args);
  EXPECT_NEAR(values(args.inverse_deviation)[0], 1.0 / std::sqrt(epsilon), 0.01);
  EXPECT_TRUE(std::isnan(values(args.inverse_deviation)[1]));
}

TEST_P(BatchNorm, ForwardMatchesTheReference) {
  for (const Shape& shape : shapes) {
    for (const bool with_residual : {false, true}) {
      for (const bool relu : {false, true}) {
        SCOPED_TRACE(fmt::format("{} residual {} relu {}", shape.to_string(), with_residual, relu));
        BatchNormArgs args = arguments(shape, with_residual, relu);
        forward(args);
        expect_close(args.y, batch_norm_reference(inputs_of(args)), std::max(tolerance(), 3e-5));
      }
    }
  }
}

TEST_P(BatchNorm, BackwardMatchesFiniteDifferences) {
  for (const Shape& shape : {Shape{5, 3}, Shape{67, 5}, Shape{2, 3, 5, 17}, Shape{9, 16}}) {
    for (const bool with_residual : {false, true}) {
      for (const bool relu : {false, true}) {
        SCOPED_TRACE(fmt::format("{} residual {} relu {}", shape.to_string(), with_residual, relu));
        BatchNormArgs args = arguments(shape, with_residual, relu);
        forward(args);
        const Tensor dy = random(shape, 6);
        const Tensor totals = empty({2, shape.columns()}, DType::f32);
        backend().batch_norm_backward_statistics({args, dy, totals});
        const Inputs inputs = inputs_of(args);
        const Values gradient = values(dy);
        expect_values_close(values(totals),
                            joined({gradient_reference(inputs, &Inputs::bias, gradient),
                                    gradient_reference(inputs, &Inputs::weight, gradient)}),
                            3e-5);

        BatchNormBackwardArgs back = {args, dy, totals, static_cast<double>(shape.rows()), empty(shape), Tensor()};
        if (with_residual) back.residual_gradient = empty(shape);
        backend().batch_norm_backward(back);
        expect_close(back.dx, gradient_reference(inputs, &Inputs::x, gradient), std::max(tolerance(), 1e-4));
        if (with_residual)
          expect_close(back.residual_gradient, gradient_reference(inputs, &Inputs::residual, gradient));
      }
    }
  }
}

TEST_P(BatchNorm, TwoHalvesWithSummedTotalsGiveWhatTheWholeGives) {
  const Shape shape = {90, 19};
  const Shape half = {45, 19};
  BatchNormArgs whole = arguments(shape, true, true);
  forward(whole);
  const Tensor dy = random(shape, 6);
  const Tensor shift = random_tensor({19}, DType::f32, 5);

  const auto part = [&](const Tensor& tensor, std::int64_t i) { return tensor.view(i * half.elements(), half); };
  const auto sum_of_halves = [&](const auto& totals_of_half) {
    Values sum = totals_of_half(0);
    const Values second = totals_of_half(1);
    std::transform(sum.begin(), sum.end(), second.begin(), sum.begin(), std::plus<>());
    return sum;
  };
  const Values totals = sum_of_halves([&](std::int64_t i) { return totals_of(part(whole.x, i), shift); });
  const Moments moments = moments_of(totals, values(shift), 90);
  std::array<BatchNormArgs, 2> halves = {whole, whole};
  for (std::size_t i = 0; i < 2; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    halves[i].x = part(whole.x, at);
    halves[i].residual = part(whole.residual, at);
    halves[i].y = empty(half);
    normalise(halves[i], moments);
  }
  expect_values_close(joined({values(halves[0].y), values(halves[1].y)}), values(whole.y), tolerance());

  const auto backward_totals = [&](const BatchNormArgs& forward_args, const Tensor& gradient) {
    Tensor sums = empty({2, 19}, DType::f32);
    backend().batch_norm_backward_statistics({forward_args, gradient, sums});
    return sums;
  };
  const auto input_gradient = [&](const BatchNormArgs& forward_args, const Tensor& gradient, const Tensor& sums) {
    const Tensor dx = empty(gradient.shape());
    backend().batch_norm_backward({forward_args, gradient, sums, 90, dx, Tensor()});
    return values(dx);
  };
  const Tensor wanted_sums = backward_totals(whole, dy);
  const Values sums = sum_of_halves(
      [&](std::int64_t i) { return values(backward_totals(halves[static_cast<std::size_t>(i)], part(dy, i))); });
  expect_values_close(sums, values(wanted_sums), 1e-5);
  const Tensor both = tensor_of({2, 19}, DType::f32, sums);
  expect_values_close(
      joined({input_gradient(halves[0], part(dy, 0), both), input_gradient(halves[1], part(dy, 1), both)}),
      input_gradient(whole, dy, wanted_sums), std::max(tolerance(), 3e-5));
}

TEST_P(BatchNorm, BackwardMayOverwriteTheGradientItReads) {
  BatchNormArgs args = arguments({30, 11}, true, true);
  forward(args);
  const Tensor totals = random_tensor({2, 11}, DType::f32, 7);
  BatchNormBackwardArgs back = {args, random({30, 11}, 6), totals, 30, empty({30, 11}), empty({30, 11})};
  backend().batch_norm_backward(back);
  const Values dx = values(back.dx);
  const Values residual = values(back.residual_gradient);
  back.residual_gradient = back.dy;
  backend().batch_norm_backward(back);
  EXPECT_EQ(values(back.dx), dx);
  EXPECT_EQ(values(back.residual_gradient), residual);
  back.dy = random({30, 11}, 6);
  back.dx = back.dy;
  back.residual_gradient = empty({30, 11});
  backend().batch_norm_backward(back);
  EXPECT_EQ(values(back.dx), dx);
  EXPECT_EQ(values(back.residual_gradient), residual);
}

TEST_P(BatchNorm, NaNStaysNaN) {
  BatchNormArgs args = arguments({9, 5}, false, true);
  Values x = values(args.x);
  x[13] = std::nan("");
  args.x = tensor_of({9, 5}, type(), x);
  const Tensor shift = tensor_of({5}, DType::f32, Values(5, 0.0));
  const Values totals = totals_of(args.x, shift);
  for (std::size_t i = 0; i < totals.size(); ++i) EXPECT_EQ(std::isnan(totals[i]), i % 5 == 3) << i;
  normalise(args, {Values(5, 0.5), Values(5, 2.0)});
  const Values y = values(args.y);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i == 13) << i;
}

TEST_P(BatchNorm, ShapesAndTypesThatDoNotMatchFail) {
  BatchNormArgs good = arguments({6, 5}, true, false);
  forward(good);
  const DType other = type() == DType::f32 ? DType::bf16 : DType::f32;
  const Tensor shift = random_tensor({5}, DType::f32, 5);
  EXPECT_THROW(backend().batch_norm_statistics({good.x, shift, empty({5}, DType::f32)}), Error);
  EXPECT_THROW(backend().batch_norm_statistics({good.x, random_tensor({5}, DType::bf16, 5), empty({2, 5}, DType::f32)}),
               Error);
  BatchNormArgs bad = good;
  bad.weight = random({6}, 1);
  EXPECT_THROW(backend().batch_norm(bad), Error);
  bad = good;
  bad.y = empty({6, 5}, other);
  EXPECT_THROW(backend().batch_norm(bad), Error);
  bad = good;
  bad.residual = random({5, 5}, 1);
  EXPECT_THROW(backend().batch_norm(bad), Error);
  const Tensor dy = random({6, 5}, 6);
  const Tensor totals = random_tensor({2, 5}, DType::f32, 7);
  EXPECT_THROW(backend().batch_norm_backward_statistics({good, random({5, 5}, 6), totals}), Error);
  EXPECT_THROW(backend().batch_norm_backward({good, dy, totals, 0, empty({6, 5}), Tensor()}), Error);
  EXPECT_THROW(backend().batch_norm_backward({good, dy, totals, 6, empty({5, 5}), Tensor()}), Error);
}

TEST(BatchNormThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Shape shape = {3001, 70};
    const auto tensor = [&](const Shape& extents, std::uint64_t seed) {
      return from_double(cpu, extents, DType::f32, random_values(extents.elements(), seed));
    };
    const Tensor totals = tensor({2, 70}, 9);
    const BatchNormArgs forward = {
        tensor(shape, 1), tensor({70}, 2), tensor({70}, 3), tensor({70}, 4), tensor({70}, 5), tensor(shape, 6), true,
        tensor(shape, 9)};
    cpu.batch_norm_statistics({forward.x, forward.mean, totals});
    const Values sums = to_double(cpu, totals);
    cpu.batch_norm(forward);
    const Tensor dy = tensor(shape, 7);
    const Tensor dx = tensor(shape, 9);
    cpu.batch_norm_backward_statistics({forward, dy, totals});
    cpu.batch_norm_backward({forward, dy, totals, 3001, dx, Tensor()});
    return joined({sums, to_double(cpu, forward.y), to_double(cpu, totals), to_double(cpu, dx)});
  });
}

}  // namespace
}  // namespace trireme
