// The GPT against its float64 double: the loss, and every parameter's gradient by finite differences of the double.
#include "model/arch/gpt.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>

#include "comm/self_communicator.h"
#include "kernels/error.h"
#include "model/parameter.h"
#include "tests/support/reference_gpt.h"

namespace trireme {
namespace {

using testing::reference_gpt_loss;
using testing::ReferenceParameters;

constexpr int batch = 2;
constexpr int time_steps = 7;

struct Variant {
  std::string name;
  GptConfig config;
};

// Its name is GoogleTest's. NOLINTNEXTLINE(readability-identifier-naming)
void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

std::vector<Variant> variants() {
  GptConfig base;
  base.layers = 2;
  base.hidden = 16;
  base.heads = 4;
  base.context = 9;
  base.vocabulary = 23;
  Variant gpt2{"Gpt2", base};
  Variant untied{"Gpt2UntiedNoBias", base};
  untied.config.tie_embeddings = false;
  untied.config.bias = false;
  Variant llama{"LlamaGroupedQuery", base};
  llama.config.norm = NormKind::rms;
  llama.config.activation = FeedForwardKind::swiglu;
  llama.config.positions = PositionKind::rotary;
  llama.config.key_value_heads = 2;
  llama.config.feed_forward = 24;
  llama.config.bias = false;
  llama.config.tie_embeddings = false;
  return {gpt2, untied, llama};
}

class GptTest : public ::testing::TestWithParam<Variant> {
 protected:
  GptTest() : config_(GetParam().config), backend_(make_cpu_backend(1)), self_(make_self_communicator("self")) {
    const Architecture architecture = make_gpt(config_, 1, DType::f32);
    const Build build{.store = store_};
    for (const Block& block : architecture.blocks) layers_.push_back(block.make(build));
    store_.allocate(*backend_, DType::f32, 5);
    // Far from the tiny initial values, so that a wrong sign or a missing term shows.
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0.0F, 0.3F);
    for (Parameter& parameter : store_.parameters())
      for (float& value : parameter.value.values<float>()) value += normal(random);
    std::uniform_int_distribution<int> token(0, config_.vocabulary - 1);
    for (int i = 0; i < 2 * batch * time_steps; ++i) {
      tokens_.push_back(token(random));
      targets_.push_back(token(random));
    }
  }

  /// Microbatch 0 or 1.
  Microbatch microbatch(int number) {
    const auto bring = [&](const std::vector<std::int32_t>& all) {
      Tensor tensor = backend_->allocate({batch, time_steps}, DType::i32);
      backend_->upload(all.data() + number * batch * time_steps, tensor);
      return tensor;
    };
    return {{bring(tokens_), bring(targets_)}, number * batch};
  }

  ReferenceParameters reference_parameters() const {
    ReferenceParameters result;
    for (const Parameter& parameter : store_.parameters()) {
      const auto values = parameter.value.values<float>();
      auto next = values.begin();
      for (const auto& part : parameter.parts()) {
        const auto end = next + part.shard.extent.elements();
        result[part.name] = std::vector<double>(next, end);
        next = end;
      }
    }
    return result;
  }

  double reference_loss(const ReferenceParameters& parameters) const {
    return reference_gpt_loss(config_, parameters, tokens_, targets_, time_steps);
  }

  GptConfig config_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> self_;
  ParameterStore store_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<std::int32_t> tokens_, targets_;  ///< of two microbatches
};

TEST_P(GptTest, LossAndGradientsOfInterleavedMicrobatchesMatchTheReference) {
  constexpr float scale = 1.0F / (2 * batch * time_steps);
  const std::array<Microbatch, 2> microbatches = {microbatch(0), microbatch(1)};
  std::array<std::vector<Saved>, 2> saved{std::vector<Saved>(layers_.size()), std::vector<Saved>(layers_.size())};
  const auto context = [&](std::size_t number) {
    return Context{*backend_, *self_, *self_, DType::f32, true, 1, scale, 2, microbatches[number]};
  };
  double loss = 0;
  for (const std::size_t number : {0U, 1U}) {
    Tensor x = microbatches[number].fields[0];
    for (std::size_t i = 0; i < layers_.size(); ++i) x = layers_[i]->forward(context(number), x, saved[number][i]);
    EXPECT_EQ(x.values<double>()[1], batch * time_steps);
    loss += x.values<double>()[0] * scale;
  }
  for (const std::size_t number : {1U, 0U}) {
    Tensor dy;
    for (std::size_t i = layers_.size(); i-- > 0;)
      dy = layers_[i]->backward_input(context(number), dy, saved[number][i]);
    EXPECT_TRUE(dy.empty()) << "tokens have no gradient";
  }
  for (const std::size_t number : {0U, 1U})
    for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i]->backward_weight(context(number), saved[number][i]);

  ReferenceParameters parameters = reference_parameters();
  EXPECT_NEAR(loss, reference_loss(parameters), 2e-6 * loss);

  for (const Parameter& parameter : store_.parameters()) {
    const float* gradient = parameter.gradient.data<float>();
    for (const auto& part : parameter.parts()) {
      auto& values = parameters.at(part.name);
      for (std::size_t i = 0; i < values.size(); i += 1 + values.size() / 40) {
        constexpr double step = 1e-5;
        const double value = values[i];
        values[i] = value + step;
        const double above = reference_loss(parameters);
        values[i] = value - step;
        const double below = reference_loss(parameters);
        values[i] = value;
        const double expected = (above - below) / (2 * step);
        EXPECT_NEAR(gradient[i], expected, 2e-5 * std::abs(expected) + 2e-6) << part.name << "[" << i << "]";
      }
      gradient += part.shard.extent.elements();
    }
  }
}

TEST_P(GptTest, WithoutTargetsTheHeadReturnsLogits) {
  Microbatch part = microbatch(0);
  part.fields.pop_back();
  const Context context{*backend_, *self_, *self_, DType::f32, false, 1, 1.0F, 1, part};
  Tensor x = part.fields[0];
  Saved nothing;
  for (const auto& layer : layers_) x = layer->forward(context, x, nothing);
  EXPECT_EQ(x.shape(), (Shape{batch, time_steps, config_.vocabulary}));
}

INSTANTIATE_TEST_SUITE_P(Variants, GptTest, ::testing::ValuesIn(variants()),
                         [](const auto& variant) { return variant.param.name; });

TEST(Gpt, RefusesSizesThatDoNotFit) {
  GptConfig config;
  config.vocabulary = 100;
  config.hidden = 100;
  config.heads = 3;
  EXPECT_THROW(make_gpt(config, 1, DType::f32), Error);
  config.heads = 4;
  config.key_value_heads = 3;
  EXPECT_THROW(make_gpt(config, 1, DType::f32), Error);
  config.key_value_heads = 0;
  config.positions = PositionKind::rotary;
  config.heads = 20;
  EXPECT_THROW(make_gpt(config, 1, DType::f32), Error) << "an odd head size cannot be rotated";
}

TEST(Gpt, ParametersAndCostsOfGpt2Small) {
  GptConfig config;
  config.layers = 12;
  config.hidden = 768;
  config.heads = 12;
  config.context = 1024;
  config.vocabulary = 50257;
  const Architecture architecture = make_gpt(config, 1, DType::f32);
  ParameterStore store;
  const Build build{.store = store};
  double flops = 0;
  for (const Block& block : architecture.blocks) {
    block.make(build);
    flops += block.cost.forward_flops;
  }
  std::int64_t count = 0;
  for (const Parameter& parameter : store.parameters()) count += parameter.elements();
  EXPECT_EQ(count, 124439808) << "as published for GPT-2 small";
  // 2 flops a weight of every matrix and token, and the causal half of scores and values.
  const double matrices = 12.0 * 12 * 768 * 768 + 50257.0 * 768;
  const double attention = 12.0 * 2 * 1024 * 768 / 2;
  EXPECT_NEAR(flops, 2.0 * 1024 * (matrices + attention), 1e-3 * flops);
}

}  // namespace
}  // namespace trireme
