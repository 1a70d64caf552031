// Gradients of the layers for images, by finite differences; what batch normalisation counts as its batch.
#include "model/layers/batch_norm.h"
#include "model/layers/convolution.h"
#include "model/layers/convolution_unit.h"
#include "model/layers/pooling.h"
#include "tests/model/layer_test.h"

namespace trireme {
namespace {

class ImageLayerTest : public LayerTest {
 protected:
  void check_images(std::int64_t channels, bool has_input_gradient = true) {
    check_gradients([&] { return random_tensor({batch, height_, width_, channels}); }, has_input_gradient);
  }
  /// Small steps over few elements, so that none crosses a kink.
  void expect_kinks() {
    height_ = width_ = 3;
    step_ = 5e-4F;
    tolerance_ = 2e-2;
  }
  std::vector<float> values_of(const std::string& name, Tensor Parameter::*which) {
    for (Parameter& parameter : store_.parameters())
      if (parameter.name() == name)
        return {(parameter.*which).values<float>().begin(), (parameter.*which).values<float>().end()};
    ADD_FAILURE() << "no parameter " << name;
    return {};
  }

  std::int64_t height_ = 5, width_ = 6;
};

TEST_F(ImageLayerTest, ConvolutionWithBiasAndStridesOfTheirOwn) {
  build([](const Build& b) {
    return std::make_unique<Convolution>(
        b, "c",
        ConvolutionOptions{.channels = 3,
                           .outputs = 4,
                           .rows = 3,
                           .columns = 2,
                           .shape = {.stride_height = 2, .stride_width = 1, .pad_height = 1, .pad_width = 0},
                           .bias = true});
  });
  check_images(3);
}

TEST_F(ImageLayerTest, DepthwiseConvolution) {
  build([](const Build& b) {
    return std::make_unique<Convolution>(b, "c",
                                         ConvolutionOptions{.channels = 4,
                                                            .outputs = 4,
                                                            .rows = 3,
                                                            .columns = 3,
                                                            .shape = {.pad_height = 1, .pad_width = 1, .groups = 4}});
  });
  check_images(4);
}

TEST_F(ImageLayerTest, ConvolutionOfDataHasNoInputGradient) {
  build([](const Build& b) {
    return std::make_unique<Convolution>(
        b, "c", ConvolutionOptions{.channels = 3, .outputs = 2, .rows = 2, .columns = 2, .input_gradient = false});
  });
  check_images(3, false);
}

TEST_F(ImageLayerTest, BatchNorm) {
  build([](const Build& b) { return std::make_unique<BatchNorm>(b, "n", BatchNormOptions{.channels = 4}); });
  check_images(4);
}

TEST_F(ImageLayerTest, BatchNormWithRelu) {
  expect_kinks();
  build([](const Build& b) {
    return std::make_unique<BatchNorm>(b, "n", BatchNormOptions{.channels = 4, .relu = true});
  });
  check_images(4);
}

TEST_F(ImageLayerTest, UnitWithHardSwish) {
  expect_kinks();
  height_ = width_ = 5;  // without padding: statistics of more than two pixels
  build([](const Build& b) {
    return std::make_unique<ConvolutionUnit>(
        b, "u",
        ConvolutionUnitOptions{.convolution = {.channels = 3, .outputs = 4, .rows = 3, .columns = 3},
                               .activation = Activation::hard_swish});
  });
  check_images(3);
}

/// y = unit(x) + x, through the unit's residual.
class AroundUnit final : public Layer {
 public:
  explicit AroundUnit(const Build& build)
      : unit_(
            build, "u",
            {.convolution = {
                 .channels = 4, .outputs = 4, .rows = 3, .columns = 3, .shape = {.pad_height = 1, .pad_width = 1}}}) {}
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    return unit_.forward_add(context, x, x, saved);
  }
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    Tensor around;
    Tensor dx = unit_.backward_input_add(context, dy, &around, saved);
    context.backend.add(dx, around, dx);
    return dx;
  }
  void backward_weight(const Context& context, Saved& saved) const override { unit_.backward_weight(context, saved); }

 private:
  ConvolutionUnit unit_;
};

TEST_F(ImageLayerTest, UnitWithResidual) {
  expect_kinks();
  build([](const Build& b) { return std::make_unique<AroundUnit>(b); });
  check_images(4);
}

TEST_F(ImageLayerTest, MaximumPooling) {
  expect_kinks();
  build([](const Build&) {
    return std::make_unique<Pooling>(PoolingOptions{.height = 3, .width = 2, .pad_height = 1, .pad_width = 0});
  });
  check_images(4);
}

TEST_F(ImageLayerTest, GlobalAveragePooling) {
  build([](const Build&) { return std::make_unique<Pooling>(Pooling::global_average()); });
  check_images(4);
}

TEST_F(ImageLayerTest, RunningStatisticsMoveByTheMeanOverTheMicrobatches) {
  build([](const Build& b) { return std::make_unique<BatchNorm>(b, "n", BatchNormOptions{.channels = 1}); });
  double mean = 0;
  double variance = 0;
  for (const std::size_t number : {0U, 1U}) {
    const Tensor x = random_tensor({batch, 3, 3, 1});
    double sum = 0;
    double squares = 0;
    for (const float value : x.values<float>()) sum += value;
    for (const float value : x.values<float>()) squares += std::pow(value - sum / 18, 2);
    mean += sum / 18 / 2;
    variance += squares / 17 / 2;
    Saved saved;
    layer_->forward(context(number), x, saved);
  }
  store_.update_tracked(*backend_);
  EXPECT_NEAR(values_of("n.running_mean", &Parameter::value)[0], 0.1 * mean, 1e-6);
  EXPECT_NEAR(values_of("n.running_variance", &Parameter::value)[0], 0.9 + 0.1 * variance, 1e-6);
}

}  // namespace
}  // namespace trireme
