#include "kernels/segments.h"
#include "thread_invariance.h"

namespace trireme {
namespace {

struct State {
  Values value, velocity;
};

/// One segment's step. `rate` and `scale` are what layer-wise rates, and scaling and clipping, come to.
void sgd_reference(State& state, const Values& gradient, const SgdArgs& args, const Segment& segment, double rate,
                   double scale) {
  for (std::int64_t at = segment.first; at < segment.first + segment.count; ++at) {
    const auto i = static_cast<std::size_t>(at);
    const double g = rate * (scale * gradient[i] + args.weight_decay * state.value[i]);
    state.velocity[i] = args.momentum * state.velocity[i] + g;
    state.value[i] -= args.learning_rate * (args.nesterov ? g + args.momentum * state.velocity[i] : state.velocity[i]);
  }
}

double norm_of(const Values& values, const Segment& segment) {
  double squares = 0.0;
  for (std::int64_t i = segment.first; i < segment.first + segment.count; ++i)
    squares += std::pow(values[static_cast<std::size_t>(i)], 2);
  return std::sqrt(squares);
}

class Sgd : public KernelTest {
 protected:
  static SgdArgs arguments(std::int64_t count, const std::vector<Segment>& segments) {
    SgdArgs args;
    args.value = random_tensor({count}, DType::f32, 1);
    args.gradient = random_tensor({count}, DType::f32, 2);
    args.velocity = tensor_of({count}, DType::f32, Values(static_cast<std::size_t>(count), 0.0));
    args.tiles = make_tiles(backend(), segments);
    args.learning_rate = 0.1;
    args.momentum = 0.9;
    args.weight_decay = 0.05;
    return args;
  }
  static SgdArgs arguments(std::int64_t count) { return arguments(count, {{0, count}}); }
  static State state_of(const SgdArgs& args) { return {values(args.value), values(args.velocity)}; }
  static void expect_state(const SgdArgs& args, const State& wanted) {
    expect_close_f32(args.value, wanted.value);
    expect_close_f32(args.velocity, wanted.velocity);
  }
  /// Gives the step the norms of what the arenas hold now.
  static void measure(SgdArgs& args, std::int64_t segments) {
    args.value_squares = tensor_of({segments}, DType::f64, Values(static_cast<std::size_t>(segments), 0.0));
    args.gradient_squares = tensor_of({segments}, DType::f64, Values(static_cast<std::size_t>(segments), 0.0));
    backend().add_segment_squares(args.value, args.tiles, args.value_squares);
    backend().add_segment_squares(args.gradient, args.tiles, args.gradient_squares);
  }
};
// Optimizer state is f32 whatever the working type.
INSTANTIATE_TEST_SUITE_P(, Sgd,
                         testing::Values(KernelCase{DeviceKind::cpu, DType::f32, 1e-5},
                                         KernelCase{DeviceKind::cuda, DType::f32, 1e-5}),
                         name_of_parameter);

TEST_P(Sgd, MatchesTheReferenceOverSeveralSteps) {
  for (const std::int64_t count : {1, 7, 20011}) {
    for (const bool nesterov : {false, true}) {
      SgdArgs args = arguments(count);
      args.nesterov = nesterov;
      State wanted = state_of(args);
      for (std::uint64_t step = 0; step < 5; ++step) {
        args.gradient = random_tensor({count}, DType::f32, 100 + step);
        sgd_reference(wanted, values(args.gradient), args, {0, count}, 1.0, 1.0);
        backend().sgd(args);
      }
      expect_state(args, wanted);
    }
  }
}

TEST_P(Sgd, WithoutMomentumNeedsNoVelocity) {
  SgdArgs args = arguments(5000);
  State wanted = state_of(args);
  args.momentum = 0.0;
  args.velocity = Tensor();
  sgd_reference(wanted, values(args.gradient), args, {0, 5000}, 1.0, 1.0);
  backend().sgd(args);
  expect_close_f32(args.value, wanted.value);
  args.momentum = 0.5;
  EXPECT_THROW(backend().sgd(args), Error);
}

TEST_P(Sgd, EverySegmentHasARateFromItsNorms) {
  // Parts of joined parameters begin at any element; the third has no values yet, the last no tiles.
  const std::vector<Segment> segments = {{0, 16}, {16, 18001}, {18017, 63}, {18080, 5}, {18096, 0}};
  SgdArgs args = arguments(18112, segments);
  Values values_before = values(args.value);
  std::fill_n(values_before.begin() + 18017, 63, 0.0);
  args.value = tensor_of({18112}, DType::f32, values_before);
  args.trust_coefficient = 0.02;
  args.gradient_scale = 3.0;
  args.gradient_norm_squared = tensor_of({1}, DType::f64, {16.0});
  args.clip_norm = 2.0;
  const double scale = 1.5;
  State wanted = state_of(args);
  for (std::uint64_t step = 0; step < 3; ++step) {
    args.gradient = random_tensor({18112}, DType::f32, 100 + step);
    measure(args, 5);
    const Values gradient = values(args.gradient);
    for (const Segment& segment : segments) {
      const double norm = norm_of(wanted.value, segment);
      const double rate =
          norm > 0.0 ? 0.02 * norm / (scale * norm_of(gradient, segment) + args.weight_decay * norm) : 1.0;
      sgd_reference(wanted, gradient, args, segment, rate, scale);
    }
    backend().sgd(args);
  }
  expect_state(args, wanted);
  EXPECT_EQ(values(args.value)[18090], values_before[18090]) << "what is in no tile stays";
}

TEST_P(Sgd, SegmentsMayBeginAnywhereAndDecayApart) {
  const std::vector<Segment> segments = {{0, 3}, {3, 10}, {16, 9}, {25, 4200}, {4240, 17}};
  SgdArgs args = arguments(4272, segments);
  Values mask(9, 0.0);
  mask[0] = 0x1;                           // the first two segments
  mask[8] = static_cast<double>(1U << 9);  // the last: bit 265
  args.decay_mask = tensor_of({9}, DType::i32, mask);
  State wanted = state_of(args);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    SgdArgs mine = args;
    if (i == 2 || i == 3) mine.weight_decay = 0.0;
    sgd_reference(wanted, values(args.gradient), mine, segments[i], 1.0, 1.0);
  }
  backend().sgd(args);
  expect_state(args, wanted);
}

TEST_P(Sgd, RefreshesTheWorkingCopy) {
  for (const std::int64_t count : {3, 5000}) {
    SgdArgs args = arguments(count);
    args.working = empty({count}, DType::bf16);
    backend().sgd(args);
    EXPECT_EQ(values(args.working), values(tensor_of({count}, DType::bf16, values(args.value))));
  }
}

TEST_P(Sgd, ScalesThenClips) {
  for (const auto& [norm, scale] : {std::pair{8.0, 0.125}, {2.0, 0.5}, {0.0, 0.5}}) {
    SgdArgs args = arguments(37);
    args.gradient_scale = 0.5;
    args.gradient_norm_squared = tensor_of({1}, DType::f64, {norm * norm});
    args.clip_norm = 2.0;
    State wanted = state_of(args);
    sgd_reference(wanted, values(args.gradient), args, {0, 37}, 1.0, scale);
    backend().sgd(args);
    expect_state(args, wanted);
  }
}

TEST_P(Sgd, TensorsThatDoNotFitFail) {
  const SgdArgs good = arguments(64);
  SgdArgs bad = good;
  bad.gradient = random_tensor({63}, DType::f32, 1);
  EXPECT_THROW(backend().sgd(bad), Error);
  bad = good;
  bad.working = empty({64}, DType::f32);
  EXPECT_THROW(backend().sgd(bad), Error);
  bad = good;
  bad.tiles = Tensor();
  EXPECT_THROW(backend().sgd(bad), Error);
  bad = good;
  bad.value_squares = tensor_of({1}, DType::f64, {1.0});
  EXPECT_THROW(backend().sgd(bad), Error);
}

TEST(SgdThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const std::vector<Segment> segments = {{0, 12345}, {12345, 7666}};
    const auto tensor = [&](std::uint64_t seed) {
      return from_double(cpu, {20011}, DType::f32, random_values(20011, seed));
    };
    SgdArgs args;
    args.value = tensor(1);
    args.gradient = tensor(2);
    args.velocity = tensor(3);
    args.tiles = make_tiles(cpu, segments);
    args.learning_rate = 0.1;
    args.momentum = 0.9;
    args.value_squares = from_double(cpu, {2}, DType::f64, {0.0, 0.0});
    args.gradient_squares = from_double(cpu, {2}, DType::f64, {0.0, 0.0});
    cpu.add_segment_squares(args.value, args.tiles, args.value_squares);
    cpu.add_segment_squares(args.gradient, args.tiles, args.gradient_squares);
    cpu.sgd(args);
    return joined({to_double(cpu, args.value), to_double(cpu, args.velocity)});
  });
}

}  // namespace
}  // namespace trireme
