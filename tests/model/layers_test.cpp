// Every layer's backward_input and backward_weight by finite differences, with two microbatches interleaved.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <random>

#include "comm/self_communicator.h"
#include "model/layer.h"
#include "model/layers/dropout.h"
#include "model/layers/embedding.h"
#include "model/layers/feed_forward.h"
#include "model/layers/language_model_head.h"
#include "model/layers/linear.h"
#include "model/layers/norm.h"
#include "model/layers/self_attention.h"

namespace trireme {
namespace {

constexpr int batch = 2;
constexpr int time_steps = 5;
constexpr int hidden = 8;
constexpr int vocabulary = 11;

constexpr float loss_scale = 0.25F;

/// Objective: for each of two microbatches, the sum of the layer's output times fixed random weights. Its gradient with
/// respect to inputs and parameters, along random directions, is compared with central differences.
class LayerTest : public ::testing::Test {
 protected:
  LayerTest() : backend_(make_cpu_backend(1)), self_(make_self_communicator("self")) {}

  void build(const std::function<std::unique_ptr<Layer>(const Build&)>& make) {
    layer_ = make(Build{.store = store_});
    store_.allocate(*backend_, DType::f32, 11);
    disturb(store_.values, 0.4F);
  }
  void disturb(Tensor tensor, float size) {
    std::normal_distribution<float> normal(0.0F, size);
    for (float& value : tensor.values<float>()) value += normal(random_);
  }
  Tensor random_tensor(const Shape& shape) {
    Tensor tensor = backend_->allocate(shape, DType::f32);
    backend_->zero(tensor);
    disturb(tensor, 1.0F);
    return tensor;
  }
  Tensor random_tokens() {
    Tensor tensor = backend_->allocate({batch, time_steps}, DType::i32);
    std::uniform_int_distribution<int> token(0, vocabulary - 1);
    for (auto& value : tensor.values<std::int32_t>()) value = token(random_);
    return tensor;
  }
  Context context(std::size_t number) {
    return {*backend_, *self_, *self_, DType::f32, true, 7, loss_scale, 2, microbatches_[number]};
  }

  static double dot(const Tensor& a, const Tensor& b) {
    double sum = 0;
    for (std::int64_t i = 0; i < a.elements(); ++i) sum += double{a.data<float>()[i]} * b.data<float>()[i];
    return sum;
  }
  /// What the layer's output counts for in the objective; the loss of a head, times its scale.
  double objective_of(const Tensor& y, std::size_t number) const {
    return y.dtype() == DType::f64 ? loss_scale * *y.data<double>() : dot(y, weights_[number]);
  }
  double objective() {
    double sum = 0;
    for (const std::size_t number : {0U, 1U}) {
      Saved saved;
      sum += objective_of(layer_->forward(context(number), inputs_[number], saved), number);
    }
    return sum;
  }
  /// Derivative of the objective when `tensor` moves along `direction`.
  double difference(Tensor tensor, const Tensor& direction) {
    constexpr float step = 2e-2F;
    const std::vector<float> before(tensor.values<float>().begin(), tensor.values<float>().end());
    const auto at = [&](float distance) {
      for (std::size_t i = 0; i < before.size(); ++i)
        tensor.values<float>()[i] = before[i] + distance * direction.values<float>()[i];
      return objective();
    };
    // Two step sizes cancel the error of third order (Richardson).
    const double wide = (at(step) - at(-step)) / (2.0 * step);
    const double narrow = (at(step / 2) - at(-step / 2)) / step;
    std::copy(before.begin(), before.end(), tensor.values<float>().begin());
    return (4.0 * narrow - wide) / 3.0;
  }

  void check_gradients(const std::function<Tensor()>& make_input, bool has_input_gradient) {
    for (const std::size_t number : {0U, 1U}) {
      inputs_[number] = make_input();
      microbatches_[number] = {{Tensor(), random_tokens()}, static_cast<std::int64_t>(number) * batch};
    }
    std::array<Saved, 2> saved;
    for (const std::size_t number : {0U, 1U}) {
      const Tensor y = layer_->forward(context(number), inputs_[number], saved[number]);
      if (y.dtype() == DType::f32) weights_[number] = random_tensor(y.shape());
    }
    std::array<Tensor, 2> dx;
    for (const std::size_t number : {0U, 1U})
      dx[number] = layer_->backward_input(context(number), weights_[number], saved[number]);
    for (const std::size_t number : {1U, 0U}) layer_->backward_weight(context(number), saved[number]);

    for (int direction = 0; direction < 4; ++direction) {
      for (const std::size_t number : {0U, 1U}) {
        ASSERT_EQ(dx[number].empty(), !has_input_gradient);
        if (!has_input_gradient) continue;
        const Tensor along = random_tensor(inputs_[number].shape());
        expect_near(dot(dx[number], along), difference(inputs_[number], along), "input");
      }
      for (Parameter& parameter : store_.parameters()) {
        const Tensor along = random_tensor(parameter.local_shape());
        expect_near(dot(parameter.gradient, along), difference(parameter.value, along), parameter.name());
      }
    }
  }
  static void expect_near(double gradient, double difference, const std::string& what) {
    EXPECT_NEAR(gradient, difference, 2e-3 * (1.0 + std::abs(difference))) << what;
  }
  void check_hidden_states() {
    check_gradients([&] { return random_tensor({batch, time_steps, hidden}); }, true);
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> self_;
  std::mt19937 random_{17};
  ParameterStore store_;
  std::unique_ptr<Layer> layer_;
  std::array<Microbatch, 2> microbatches_;
  std::array<Tensor, 2> inputs_, weights_;
};

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
