// Every update rule against a straightforward reference, one parameter after the other in double.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "comm/self_communicator.h"
#include "model/layers/build.h"
#include "model/optim/optimizer.h"

namespace trireme {
namespace {

/// One declared parameter and what rules keep of it.
struct Reference {
  std::string name;
  bool decay;
  std::vector<double> value, first, second;
};

double norm_of(const std::vector<double>& values) {
  double squares = 0.0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

/// You et al. 2017, algorithm 1, with the rate of the step outside of the momentum; without trust: PyTorch's SGD.
void momentum_step(Reference& parameter, const std::vector<double>& gradient, const UpdateRule& rule, double rate) {
  const double decay = parameter.decay ? rule.weight_decay : 0.0;
  const double norm = norm_of(parameter.value);
  const bool adapts = rule.kind == OptimizerKind::lars && parameter.decay && norm > 0.0;
  const double local = adapts ? rule.trust_coefficient * norm / (norm_of(gradient) + decay * norm) : 1.0;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const double g = local * (gradient[i] + decay * parameter.value[i]);
    parameter.first[i] = rule.momentum * parameter.first[i] + g;
    parameter.value[i] -= rate * (rule.nesterov ? g + rule.momentum * parameter.first[i] : parameter.first[i]);
  }
}

/// You et al. 2019, algorithm 2 (lamb); Loshchilov and Hutter 2019 (adamw).
void adam_step(Reference& parameter, const std::vector<double>& gradient, const UpdateRule& rule, double rate,
               int step) {
  std::vector<double> direction(gradient.size());
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    double& m = parameter.first[i];
    double& v = parameter.second[i];
    m = rule.beta1 * m + (1.0 - rule.beta1) * gradient[i];
    v = rule.beta2 * v + (1.0 - rule.beta2) * gradient[i] * gradient[i];
    direction[i] =
        m / (1.0 - std::pow(rule.beta1, step)) / (std::sqrt(v / (1.0 - std::pow(rule.beta2, step))) + rule.epsilon);
    if (parameter.decay) direction[i] += rule.weight_decay * parameter.value[i];
  }
  const double norm = norm_of(parameter.value);
  const bool adapts = rule.kind == OptimizerKind::lamb && parameter.decay && norm > 0.0;
  const double local = adapts ? norm / norm_of(direction) : 1.0;
  for (std::size_t i = 0; i < gradient.size(); ++i) parameter.value[i] -= rate * local * direction[i];
}

class Optimizers : public ::testing::TestWithParam<UpdateRule> {
 protected:
  Optimizers() : backend_(make_cpu_backend(2)), tensor_(make_self_communicator("tensor")) {
    const Build build{.store = store_};
    // Parts of joined parameters begin at any element; the zeros are a layer without a norm.
    declare({build.replicated("query", {7, 5}, Initial::normal(1.0), true),
             build.replicated("key", {3, 5}, Initial::normal(0.1), true)});
    declare({build.replicated("norm", {19}, Initial::one(), false)});
    declare({build.replicated("statistics", {5}, Initial::one(), false)}, Update::tracked);
    declare({build.replicated("filter", {8, 3, 3, 41}, Initial::normal(0.3), true)});
    declare({build.replicated("zeros", {4, 4}, Initial::zero(), true)});
    declare({build.replicated("matrix", {150, 120}, Initial::normal(0.02), true)});
  }
  void declare(std::vector<ParameterDeclaration> parts, Update update = Update::trained) {
    for (auto& part : parts) part.update = update;
    store_.declare_joined(std::move(parts));
  }
  /// Calls body(reference, first element, elements) for the trained ones.
  void for_parts(const std::function<void(Reference&, std::int64_t, std::int64_t)>& body) {
    std::size_t number = 0;
    for (const Parameter& parameter : store_.parameters()) {
      if (!parameter.trained()) continue;
      std::int64_t first = parameter.first();
      for (const auto& part : parameter.parts()) {
        if (references_.size() == number) references_.push_back({part.name, part.decay, {}, {}, {}});
        body(references_[number++], first, part.shard.extent.elements());
        first += part.shard.extent.elements();
      }
    }
  }
  static std::vector<double> part_of(const Tensor& arena, std::int64_t first, std::int64_t count) {
    const float* values = arena.data<float>() + first;
    return {values, values + count};
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> tensor_;
  ParameterStore store_;
  std::vector<Reference> references_;
};

TEST_P(Optimizers, MatchTheReferenceOverSeveralSteps) {
  const UpdateRule& rule = GetParam();
  store_.allocate(*backend_, DType::bf16, 3, training_state_of(rule));
  const auto optimizer = make_optimizer(*backend_, store_, *tensor_, rule);
  for_parts([&](Reference& reference, std::int64_t first, std::int64_t count) {
    reference.value = part_of(store_.values, first, count);
    reference.first.resize(reference.value.size());
    reference.second.resize(reference.value.size());
  });
  Tensor norm = backend_->allocate({1}, DType::f64);
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (int step = 1; step <= 4; ++step) {
    for (Parameter& parameter : store_.parameters())
      if (parameter.trained())
        for (float& g : parameter.gradient.values<float>()) g = normal(random);
    const double scale = 0.25;  // of a step with so many targets
    backend_->zero(norm);
    optimizer->add_gradient_norm_squared(norm);
    const double scaled = scale * std::sqrt(*norm.data<double>());
    *norm.data<double>() = scaled * scaled;
    const double clipped = rule.clip_norm > 0.0 && scaled > rule.clip_norm ? scale * rule.clip_norm / scaled : scale;
    double squares = 0.0;
    for_parts([&](Reference& reference, std::int64_t first, std::int64_t count) {
      auto gradient = part_of(store_.gradients, first, count);
      for (double& g : gradient) squares += scale * g * scale * g;
      for (double& g : gradient) g *= clipped;
      if (rule.kind == OptimizerKind::sgd || rule.kind == OptimizerKind::lars)
        momentum_step(reference, gradient, rule, 0.02);
      else
        adam_step(reference, gradient, rule, 0.02, step);
    });
    EXPECT_NEAR(scaled, std::sqrt(squares), 1e-9 * scaled);
    optimizer->step(step, 0.02, norm, scale);
  }
  for_parts([&](Reference& reference, std::int64_t first, std::int64_t count) {
    const double typical = norm_of(reference.value) / std::sqrt(static_cast<double>(count));
    const auto found = part_of(store_.values, first, count);
    for (std::size_t i = 0; i < found.size(); ++i)
      ASSERT_NEAR(found[i], reference.value[i], 1e-5 * (std::abs(reference.value[i]) + typical))
          << reference.name << " " << i;
  });
  for (std::int64_t i = 0; i < store_.elements(); ++i) {
    ASSERT_EQ(store_.gradients.data<float>()[i], 0.0F);
    ASSERT_EQ(store_.working.data<bfloat16>()[i].bits, to_bfloat16(store_.values.data<float>()[i]).bits);
  }
}

std::string name_of_rule(const testing::TestParamInfo<UpdateRule>& info) {
  const std::array names = {"adamw", "sgd", "lars", "lamb"};
  return std::string(names[static_cast<std::size_t>(info.param.kind)]) + (info.param.nesterov ? "_nesterov" : "") +
         (info.param.momentum == 0.0 ? "_without_momentum" : "") + (info.param.clip_norm == 0.0 ? "_unclipped" : "");
}

INSTANTIATE_TEST_SUITE_P(
    , Optimizers,
    testing::Values(UpdateRule{.kind = OptimizerKind::adamw}, UpdateRule{.kind = OptimizerKind::sgd},
                    UpdateRule{.kind = OptimizerKind::sgd, .clip_norm = 0.0, .nesterov = true},
                    UpdateRule{.kind = OptimizerKind::sgd, .momentum = 0.0}, UpdateRule{.kind = OptimizerKind::lars},
                    UpdateRule{.kind = OptimizerKind::lars, .clip_norm = 0.0}, UpdateRule{.kind = OptimizerKind::lamb},
                    UpdateRule{.kind = OptimizerKind::lamb, .clip_norm = 0.0}),
    name_of_rule);

TEST_P(Optimizers, KeepWhatTheyNeed) {
  const UpdateRule& rule = GetParam();
  store_.allocate(*backend_, DType::f32, 3, training_state_of(rule));
  const bool adaptive = rule.kind == OptimizerKind::adamw || rule.kind == OptimizerKind::lamb;
  EXPECT_EQ(store_.first_moments.empty(), !adaptive && rule.momentum == 0.0);
  EXPECT_EQ(store_.second_moments.empty(), !adaptive);
}

TEST_P(Optimizers, LeaveTrackedParametersToTheirGradient) {
  store_.allocate(*backend_, DType::bf16, 3, training_state_of(GetParam()));
  const auto optimizer = make_optimizer(*backend_, store_, *tensor_, GetParam());
  Parameter* tracked = nullptr;
  for (Parameter& parameter : store_.parameters())
    if (!parameter.trained()) tracked = &parameter;
  ASSERT_NE(tracked, nullptr);
  EXPECT_EQ(tracked->working.dtype(), DType::f32);
  tracked->gradient.values<float>()[2] = 0.5F;
  Tensor norm = backend_->allocate({1}, DType::f64);
  backend_->zero(norm);
  optimizer->add_gradient_norm_squared(norm);
  EXPECT_EQ(*norm.data<double>(), 0.0);
  optimizer->step(1, 0.1, norm, 3.0);
  optimizer->step(2, 0.1, norm, 3.0);
  const auto values = tracked->value.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], i == 2 ? 1.5F : 1.0F) << i;
}

}  // namespace
}  // namespace trireme
