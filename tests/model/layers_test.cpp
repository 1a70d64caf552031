// Every layer's backward_input and backward_weight by finite differences, with two microbatches interleaved.
#include <gtest/gtest.h>

#include <cmath>

#include "model/layers/dropout.h"
#include "model/layers/embedding.h"
#include "model/layers/feed_forward.h"
#include "model/layers/language_model_head.h"
#include "model/layers/linear.h"
#include "model/layers/norm.h"
#include "model/layers/self_attention.h"
#include "tests/model/layer_test.h"

namespace trireme {
namespace {

TEST_F(LayerTest, LinearByColumns) {
  build([](const Build& b) {
    return std::make_unique<Linear>(b, std::vector<Linear::Output>{{"a", 6}, {"b", 3}}, hidden, Split::column, true,
                                    0.1);
  });
  check_hidden_states();
}

TEST_F(LayerTest, LinearByRowsWithoutBias) {
  build([](const Build& b) {
    return std::make_unique<Linear>(b, std::vector<Linear::Output>{{"a", 6}}, hidden, Split::row, false, 0.1);
  });
  check_hidden_states();
}

TEST_F(LayerTest, LayerNorm) {
  build([](const Build& b) { return std::make_unique<Norm>(b, "norm", hidden, NormKind::layer, true); });
  check_hidden_states();
}

TEST_F(LayerTest, RmsNorm) {
  build([](const Build& b) { return std::make_unique<Norm>(b, "norm", hidden, NormKind::rms, false); });
  check_hidden_states();
}

TEST_F(LayerTest, CausalAttention) {
  build([](const Build& b) {
    return std::make_unique<SelfAttention>(b, "attention",
                                           SelfAttentionOptions{.hidden = hidden, .heads = 2, .key_value_heads = 2});
  });
  check_hidden_states();
}

TEST_F(LayerTest, BidirectionalRotaryGroupedQueryAttention) {
  build([](const Build& b) {
    return std::make_unique<SelfAttention>(
        b, "attention",
        SelfAttentionOptions{
            .hidden = hidden, .heads = 4, .key_value_heads = 2, .causal = false, .rotary = true, .bias = false});
  });
  check_hidden_states();
}

TEST_F(LayerTest, FeedForwardGelu) {
  build([](const Build& b) {
    return std::make_unique<FeedForward>(b, "feed_forward", FeedForwardOptions{.hidden = hidden, .inner = 12});
  });
  check_hidden_states();
}

TEST_F(LayerTest, FeedForwardSwiglu) {
  build([](const Build& b) {
    return std::make_unique<FeedForward>(
        b, "feed_forward", FeedForwardOptions{.hidden = hidden, .inner = 12, .gated = true, .bias = false});
  });
  check_hidden_states();
}

TEST_F(LayerTest, EmbeddingWithPositionsAndDropout) {
  build([](const Build& b) {
    return std::make_unique<Embedding>(
        b, "embedding",
        EmbeddingOptions{.vocabulary = vocabulary, .hidden = hidden, .context = time_steps, .dropout = 0.3});
  });
  check_gradients([&] { return random_tokens(); }, false);
}

TEST_F(LayerTest, LanguageModelHead) {
  build([](const Build& b) {
    return std::make_unique<LanguageModelHead>(
        b, "norm", LanguageModelHeadOptions{.vocabulary = vocabulary, .hidden = hidden, .table = "table"});
  });
  check_hidden_states();
}

TEST_F(LayerTest, DropoutDependsOnTheGlobalSampleAlone) {
  const Dropout dropout("layer", 0.5);
  const Tensor x = random_tensor({2 * batch, time_steps, hidden});
  microbatches_[0].first_sample = 4;
  const Tensor whole = dropout(context(0), x);
  const std::int64_t half = x.elements() / 2;
  const Shape half_shape{batch, time_steps, hidden};
  for (const std::int64_t part : {0, 1}) {
    microbatches_[1].first_sample = 4 + part * batch;
    const Tensor y = dropout(context(1), x.view(part * half, half_shape));
    for (std::int64_t i = 0; i < half; ++i) ASSERT_EQ(y.data<float>()[i], whole.data<float>()[part * half + i]);
  }
}

TEST(ParameterStore, InitialValuesDependOnGlobalPositionsAlone) {
  const auto backend = make_cpu_backend(1);
  const auto values = [&](int part, int parts, int axis) {
    ParameterStore store;
    Parameter* parameter = store.declare(Build{.store = store, .tensor_rank = part, .tensor_ranks = parts}.split(
        "w", {6, 10}, axis, Initial::normal(0.5), true));
    store.allocate(*backend, DType::f32, 3);
    return std::vector<float>(parameter->value.values<float>().begin(), parameter->value.values<float>().end());
  };
  const auto whole = values(0, 1, 0);
  for (const int part : {0, 1}) {
    const auto rows = values(part, 2, 0);
    for (std::size_t i = 0; i < 30; ++i) ASSERT_EQ(rows[i], whole[static_cast<std::size_t>(part) * 30 + i]);
    const auto columns = values(part, 2, 1);
    for (std::size_t i = 0; i < 30; ++i)
      ASSERT_EQ(columns[i], whole[i / 5 * 10 + static_cast<std::size_t>(part) * 5 + i % 5]);
  }
  double squares = 0;
  for (const float value : whole) squares += double{value} * value;
  EXPECT_NEAR(std::sqrt(squares / 60), 0.5, 0.15);
}

TEST(ParameterStore, RangesSeparateWhatDecaysAndWhatCounts) {
  ParameterStore store;
  const Build second{.store = store, .tensor_rank = 1, .tensor_ranks = 2};
  store.declare(second.split("matrix", {4, 4}, 0, Initial::zero(), true));
  store.declare(second.split("matrix2", {4, 4}, 1, Initial::zero(), true));
  store.declare(second.replicated("norm", {3}, Initial::one(), false));
  const auto ranges = store.ranges();
  ASSERT_EQ(ranges.size(), 2U);
  EXPECT_TRUE(ranges[0].decay && ranges[0].counted);
  EXPECT_FALSE(ranges[1].decay || ranges[1].counted) << "the first rank's copy of a norm is the one that counts";
  EXPECT_EQ(ranges[0].count + ranges[1].count, store.elements());
}

}  // namespace
}  // namespace trireme
