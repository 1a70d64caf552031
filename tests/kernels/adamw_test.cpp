#include "thread_invariance.h"

namespace trireme {
namespace {

struct State {
  Values value, first, second;
};

void adamw_reference(State& state, const Values& gradient, const AdamwArgs& args, double gradient_scale) {
  const auto step = static_cast<double>(args.step);
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const double g = gradient[i] * gradient_scale;
    state.first[i] = args.beta1 * state.first[i] + (1.0 - args.beta1) * g;
    state.second[i] = args.beta2 * state.second[i] + (1.0 - args.beta2) * g * g;
    const double first = state.first[i] / (1.0 - std::pow(args.beta1, step));
    const double second = state.second[i] / (1.0 - std::pow(args.beta2, step));
    state.value[i] -=
        args.learning_rate * (first / (std::sqrt(second) + args.epsilon) + args.weight_decay * state.value[i]);
  }
}

class Adamw : public KernelTest {
 protected:
  static AdamwArgs arguments(std::int64_t count) {
    AdamwArgs args;
    args.value = random_tensor({count}, DType::f32, 1);
    args.gradient = random_tensor({count}, DType::f32, 2);
    args.first_moment = tensor_of({count}, DType::f32, Values(static_cast<std::size_t>(count), 0.0));
    args.second_moment = tensor_of({count}, DType::f32, Values(static_cast<std::size_t>(count), 0.0));
    args.learning_rate = 1e-2;
    args.weight_decay = 0.1;
    return args;
  }
  static State state_of(const AdamwArgs& args) {
    return {values(args.value), values(args.first_moment), values(args.second_moment)};
  }
  static void expect_state(const AdamwArgs& args, const State& wanted) {
    expect_close_f32(args.value, wanted.value);
    expect_close_f32(args.first_moment, wanted.first);
    expect_close_f32(args.second_moment, wanted.second);
  }
};
// Optimizer state is f32 whatever the working type.
INSTANTIATE_TEST_SUITE_P(, Adamw,
                         testing::Values(KernelCase{DeviceKind::cpu, DType::f32, 1e-5},
                                         KernelCase{DeviceKind::cuda, DType::f32, 1e-5}),
                         name_of_parameter);

TEST_P(Adamw, MatchesTheReferenceOverSeveralSteps) {
  for (const std::int64_t count : {1, 7, 10001}) {
    AdamwArgs args = arguments(count);
    State wanted = state_of(args);
    for (args.step = 1; args.step <= 5; ++args.step) {
      args.gradient = random_tensor({count}, DType::f32, static_cast<std::uint64_t>(100 + args.step));
      adamw_reference(wanted, values(args.gradient), args, 1.0);
      backend().adamw(args);
    }
    expect_state(args, wanted);
  }
}

TEST_P(Adamw, RefreshesTheWorkingCopy) {
  for (const std::int64_t count : {3, 5000}) {
    AdamwArgs args = arguments(count);
    args.working = empty({count}, DType::bf16);
    State wanted = state_of(args);
    adamw_reference(wanted, values(args.gradient), args, 1.0);
    backend().adamw(args);
    expect_state(args, wanted);
    EXPECT_EQ(values(args.working), values(tensor_of({count}, DType::bf16, values(args.value))));
  }
}

TEST_P(Adamw, ScalesDownGradientsAboveTheClippingNormOnly) {
  for (const auto& [norm, scale] : {std::pair{8.0, 0.25}, {2.0, 1.0}, {0.5, 1.0}, {0.0, 1.0}}) {
    AdamwArgs args = arguments(37);
    args.gradient_norm_squared = tensor_of({1}, DType::f64, {norm * norm});
    args.clip_norm = 2.0;
    State wanted = state_of(args);
    adamw_reference(wanted, values(args.gradient), args, scale);
    backend().adamw(args);
    expect_state(args, wanted);
  }
}

TEST_P(Adamw, ScalesGradientsBeforeItClips) {
  for (const auto& [norm, scale] : {std::pair{8.0, 1.25}, {2.0, 5.0}, {0.0, 5.0}}) {
    AdamwArgs args = arguments(37);
    args.gradient_scale = 5.0;
    args.gradient_norm_squared = tensor_of({1}, DType::f64, {norm * norm});
    args.clip_norm = 2.0;
    State wanted = state_of(args);
    adamw_reference(wanted, values(args.gradient), args, scale);
    backend().adamw(args);
    expect_state(args, wanted);
  }
}

TEST_P(Adamw, TheDirectionAloneLeavesTheValue) {
  for (const std::int64_t count : {5, 5000}) {
    AdamwArgs args = arguments(count);
    args.working = random_tensor({count}, DType::bf16, 6);
    const Values working = values(args.working);
    args.learning_rate = 1.0;
    args.direction_only = true;
    const State before = state_of(args);
    State wanted = before;
    adamw_reference(wanted, values(args.gradient), args, 1.0);
    Values direction = before.value;
    for (std::size_t i = 0; i < direction.size(); ++i) direction[i] -= wanted.value[i];
    wanted.value = before.value;
    backend().adamw(args);
    expect_state(args, wanted);
    expect_close_f32(args.gradient, direction);
    EXPECT_EQ(values(args.working), working);
  }
}

TEST_P(Adamw, ClipNormZeroDoesNotClip) {
  AdamwArgs args = arguments(37);
  args.gradient_norm_squared = tensor_of({1}, DType::f64, {1e6});
  State wanted = state_of(args);
  adamw_reference(wanted, values(args.gradient), args, 1.0);
  backend().adamw(args);
  expect_state(args, wanted);
}

TEST_P(Adamw, DecaysWhereTheMaskSaysSo) {
  constexpr std::int64_t count = 16 * 32 + 16 * 3 + 5;
  AdamwArgs masked = arguments(count);
  masked.decay_mask = tensor_of({2}, DType::i32, {static_cast<double>(0x55555555), 6.0});
  AdamwArgs all = arguments(count);
  AdamwArgs none = arguments(count);
  none.weight_decay = 0.0;
  for (const AdamwArgs* args : {&masked, &all, &none}) backend().adamw(*args);
  const Values found = values(masked.value);
  const Values with = values(all.value);
  const Values without = values(none.value);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t bit = i / 16;
    const bool decays = bit < 32 ? bit % 2 == 0 : bit == 33 || bit == 34;
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(found[at], decays ? with[at] : without[at]) << i;
  }
}

TEST_P(Adamw, DecaysWithoutAGradient) {
  AdamwArgs args = arguments(9);
  args.gradient = tensor_of({9}, DType::f32, Values(9, 0.0));
  Values wanted = values(args.value);
  for (double& value : wanted) value *= 1.0 - 1e-2 * 0.1;
  backend().adamw(args);
  expect_close(args.value, wanted, 1e-7);
}

TEST_P(Adamw, BiasCorrectionIsExactAtLateSteps) {
  AdamwArgs args = arguments(9);
  args.first_moment = random_tensor({9}, DType::f32, 5);
  args.second_moment = tensor_of({9}, DType::f32, Values(9, 2.0));
  args.step = 1000000;
  State wanted = state_of(args);
  adamw_reference(wanted, values(args.gradient), args, 1.0);
  backend().adamw(args);
  expect_state(args, wanted);
}

TEST(AdamwThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const auto tensor = [&](std::uint64_t seed) {
      Values positive = random_values(20011, seed);
      for (double& value : positive) value = std::abs(value);
      return from_double(cpu, {20011}, DType::f32, positive);
    };
    AdamwArgs args;
    args.value = tensor(1);
    args.gradient = tensor(2);
    args.first_moment = tensor(3);
    args.second_moment = tensor(4);
    args.learning_rate = 0.1;
    cpu.adamw(args);
    return joined({to_double(cpu, args.value), to_double(cpu, args.first_moment), to_double(cpu, args.second_moment)});
  });
}

}  // namespace
}  // namespace trireme
