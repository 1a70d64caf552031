// ResNets: sizes as published; logits, losses and gradients against a float64 double.
#include "model/arch/resnet.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "comm/self_communicator.h"
#include "kernels/error.h"
#include "model/parameter.h"
#include "tests/support/error_of.h"
#include "tests/support/reference_resnet.h"

namespace trireme {
namespace {

struct Published {
  int depth;
  double parameters;     ///< millions
  double multiply_adds;  ///< 1e9, of a 224 x 224 image
};

class ResnetSizes : public ::testing::TestWithParam<Published> {};

// torchvision's model zoo: parameters, and GFLOPS as it counts them (multiply-adds).
INSTANTIATE_TEST_SUITE_P(Depths, ResnetSizes,
                         ::testing::Values(Published{18, 11.689512, 1.81}, Published{34, 21.797672, 3.66},
                                           Published{50, 25.557032, 4.09}, Published{101, 44.549160, 7.80}),
                         [](const auto& kind) { return "Depth" + std::to_string(kind.param.depth); });

TEST_P(ResnetSizes, AreThePublishedOnes) {
  const Architecture architecture =
      make_resnet({.depth = GetParam().depth, .channels = 3, .classes = 1000}, DType::f32);
  ParameterStore store;
  double flops = 0;
  double parameter_bytes = 0;
  for (const Block& block : architecture.blocks) {
    block.make(Build{.store = store});
    flops += block.cost.forward_flops;
    parameter_bytes += block.cost.parameter_bytes;
  }
  std::int64_t parameters = 0;
  for (const Parameter& parameter : store.parameters())
    if (parameter.trained()) parameters += parameter.elements();
  EXPECT_EQ(parameters, std::llround(1e6 * GetParam().parameters));
  EXPECT_EQ(std::llround(parameter_bytes / 4), parameters) << "what blocks say that they cost";
  EXPECT_NEAR(flops / 2e9, GetParam().multiply_adds, 0.006);
}

constexpr int batch = 3;

class ResnetTest : public ::testing::TestWithParam<ResnetConfig> {
 protected:
  ResnetTest() : config_(GetParam()), backend_(make_cpu_backend(1)), self_(make_self_communicator("self")) {
    for (const Block& block : make_resnet(config_, DType::f32).blocks) layers_.push_back(block.make({.store = store_}));
    store_.allocate(*backend_, DType::f32, 5);
    // Every parameter matters, so that a missing term shows; variances stay positive.
    std::uniform_real_distribution<float> around(-0.3F, 0.3F);
    for (Parameter& parameter : store_.parameters())
      for (float& value : parameter.value.values<float>()) value += around(random_);
    std::normal_distribution<float> normal;
    const std::int64_t size = config_.image_size;
    Tensor images = backend_->allocate({batch, size, size, config_.channels}, DType::f32);
    for (float& value : images.values<float>()) value = normal(random_);
    Tensor targets = backend_->allocate({batch}, DType::i32);
    for (int i = 0; i < batch; ++i) targets.data<std::int32_t>()[i] = i % config_.classes;
    microbatch_.fields = {images, targets};
  }

  Tensor forward(bool training, bool with_targets) {
    microbatch_here_ = microbatch_;
    if (!with_targets) microbatch_here_.fields.resize(1);
    const Context context = make_context(training);
    Tensor x = microbatch_.fields[0];
    saved_.resize(layers_.size());
    for (std::size_t i = 0; i < layers_.size(); ++i) x = layers_[i]->forward(context, x, saved_[i]);
    return x;
  }
  void backward() {
    const Context context = make_context(true);
    Tensor dy;
    for (std::size_t i = layers_.size(); i-- > 0;) {
      dy = layers_[i]->backward_input(context, dy, saved_[i]);
      layers_[i]->backward_weight(context, saved_[i]);
    }
  }
  Context make_context(bool training) {
    return {*backend_, *self_, *self_, DType::f32, training, 7, 1.0F / batch, 1, microbatch_here_};
  }
  std::map<std::string, std::vector<double>> parameters() const {
    std::map<std::string, std::vector<double>> result;
    for (const Parameter& parameter : store_.parameters())
      result[parameter.name()] = {parameter.value.values<float>().begin(), parameter.value.values<float>().end()};
    return result;
  }
  std::vector<double> reference(const std::map<std::string, std::vector<double>>& parameters, bool training) const {
    const auto images = microbatch_.fields[0].values<float>();
    return testing::reference_resnet_logits(config_, parameters, {images.begin(), images.end()}, batch, training);
  }
  double reference_loss(const std::map<std::string, std::vector<double>>& parameters, bool training) const {
    const auto targets = microbatch_.fields[1].values<std::int32_t>();
    return testing::reference_smoothed_loss(reference(parameters, training), {targets.begin(), targets.end()},
                                            config_.classes, training ? config_.label_smoothing : 0.0);
  }

  ResnetConfig config_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> self_;
  std::mt19937 random_{3};
  ParameterStore store_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<Saved> saved_;
  Microbatch microbatch_, microbatch_here_;
};

INSTANTIATE_TEST_SUITE_P(
    Kinds, ResnetTest,
    ::testing::Values(
        ResnetConfig{.depth = 10, .width = 4, .stem = StemKind::small, .image_size = 16, .channels = 1, .classes = 7},
        ResnetConfig{.depth = 18,
                     .width = 3,
                     .image_size = 32,
                     .channels = 3,
                     .classes = 7,
                     .zero_scale = false,
                     .label_smoothing = 0.1},
        ResnetConfig{.depth = 50, .width = 4, .image_size = 40, .channels = 3, .classes = 7, .label_smoothing = 0.1}),
    [](const auto& kind) { return "Depth" + std::to_string(kind.param.depth); });

TEST_P(ResnetTest, LogitsAreThoseOfTheDouble) {
  for (const bool training : {false, true}) {
    const Tensor logits = forward(training, false);
    const std::vector<double> wanted = reference(parameters(), training);
    double largest = 0;
    for (const double value : wanted) largest = std::max(largest, std::abs(value));
    ASSERT_EQ(logits.shape(), (Shape{batch, config_.classes}));
    for (std::size_t i = 0; i < wanted.size(); ++i)
      EXPECT_NEAR(logits.data<float>()[i], wanted[i], 1e-4 * std::max(1.0, largest)) << training;
  }
}

TEST_P(ResnetTest, LossAndHitsAreThoseOfTheDouble) {
  for (const bool training : {false, true}) {
    const Tensor totals = forward(training, true);
    const double* sums = totals.data<double>();
    EXPECT_NEAR(sums[0] / sums[1], reference_loss(parameters(), training), 1e-4) << training;
    const std::vector<double> logits = reference(parameters(), training);
    std::array<int, 2> hits{};
    for (int row = 0; row < batch; ++row) {
      const double* z = logits.data() + row * config_.classes;
      const double target = z[microbatch_.fields[1].data<std::int32_t>()[row]];
      const auto before = std::count_if(z, z + config_.classes, [=](double other) { return other > target; });
      hits[0] += before < 1 ? 1 : 0;
      hits[1] += before < 5 ? 1 : 0;
    }
    EXPECT_EQ(sums[1], batch);
    EXPECT_EQ(sums[2], hits[0]);
    EXPECT_EQ(sums[4], hits[1]);
  }
}

/// Every parameter's gradient along a random direction.
TEST_P(ResnetTest, GradientsAreDifferencesOfTheDouble) {
  forward(true, true);
  backward();
  for (const Parameter& parameter : store_.parameters()) {
    if (!parameter.trained()) continue;
    constexpr double step = 1e-7;  // hardly a kink of a ReLU comes that near
    auto ahead = parameters();
    auto behind = ahead;
    double expected = 0;
    std::normal_distribution<double> normal;
    for (std::size_t i = 0; i < static_cast<std::size_t>(parameter.elements()); ++i) {
      const double along = normal(random_);
      ahead[parameter.name()][i] += step * along;
      behind[parameter.name()][i] -= step * along;
      expected += along * static_cast<double>(parameter.gradient.data<float>()[i]);
    }
    const double difference = (reference_loss(ahead, true) - reference_loss(behind, true)) / (2 * step);
    EXPECT_NEAR(expected, difference, 5e-3 * (1 + std::abs(difference))) << parameter.name();
  }
}

TEST(Resnet, RefusesSizesThatDoNotFit) {
  const auto message = [](const ResnetConfig& config) {
    return std::string(error_of([&] { make_resnet(config, DType::f32); }).what());
  };
  EXPECT_NE(message({.depth = 42, .channels = 3, .classes = 10}).find("model.depth=42"), std::string::npos);
  EXPECT_NE(message({.channels = 3, .classes = 1}).find("model.image_classes=1"), std::string::npos);
  EXPECT_NE(message({.channels = 2, .classes = 10}).find("model.image_channels=2"), std::string::npos);
}

}  // namespace
}  // namespace trireme
