// The fixture that checks layers' gradients by finite differences, with two microbatches interleaved.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <random>

#include "comm/self_communicator.h"
#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

inline constexpr int batch = 2;
inline constexpr int time_steps = 5;
inline constexpr int hidden = 8;
inline constexpr int vocabulary = 11;

inline constexpr float loss_scale = 0.25F;

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
    const float step = step_;
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
        if (!parameter.trained()) continue;
        const Tensor along = random_tensor(parameter.local_shape());
        expect_near(dot(parameter.gradient, along), difference(parameter.value, along), parameter.name());
      }
    }
  }
  void expect_near(double gradient, double difference, const std::string& what) const {
    EXPECT_NEAR(gradient, difference, tolerance_ * (1.0 + std::abs(difference))) << what;
  }
  void check_hidden_states() {
    check_gradients([&] { return random_tensor({batch, time_steps, hidden}); }, true);
  }

  double tolerance_ = 2e-3;
  float step_ = 2e-2F;  ///< of differences; kinks near by want a small one
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> self_;
  std::mt19937 random_{17};
  ParameterStore store_;
  std::unique_ptr<Layer> layer_;
  std::array<Microbatch, 2> microbatches_;
  std::array<Tensor, 2> inputs_, weights_;
};

}  // namespace trireme
