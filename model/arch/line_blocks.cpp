#include "model/arch/line_blocks.h"

#include <memory>
#include <string>

#include "kernels/convolution_shape.h"
#include "kernels/error.h"
#include "model/layers/convolution_unit.h"
#include "model/layers/ctc_head.h"

namespace trireme {
namespace {

/// The convolution of the picture, which comes as f32 whatever the type of activations.
class Stem final : public Layer {
 public:
  Stem(const Build& build, const std::string& name, const ConvolutionUnitOptions& options)
      : unit_(build, name, options) {}
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    if (x.dtype() == context.type) return unit_.forward(context, x, saved);
    const Tensor picture = context.backend.allocate(x.shape(), context.type);
    context.backend.cast(x, picture);
    return unit_.forward(context, picture, saved);
  }
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    return unit_.backward_input(context, dy, saved);
  }
  void backward_weight(const Context& context, Saved& saved) const override { unit_.backward_weight(context, saved); }

 private:
  ConvolutionUnit unit_;
};

Shape convolved(const Shape& image, const ConvolutionOptions& options) {
  const Shape filter{options.outputs, options.rows, options.columns, options.channels / options.shape.groups};
  return convolution_output(options.shape, image.batch(1), filter).sample();
}

BlockCost cost_of(const ConvolutionOptions& options, const Shape& output, double bytes) {
  const std::int64_t channels = options.channels / options.shape.groups;  // that an output sees
  const auto inputs = static_cast<double>(channels);
  const double weights = options.rows * options.columns * inputs * static_cast<double>(options.outputs);
  const auto cells = static_cast<double>(output[0] * output[1]);
  return {2.0 * cells * weights, 4.0 * weights, 3.0 * bytes * static_cast<double>(output.elements())};
}

}  // namespace

std::function<Shape(const Shape&)> add_convolutions(Architecture& architecture,
                                                    const std::vector<ConvolutionOptions>& convolutions,
                                                    Activation activation, const LineConfig& line, double bytes) {
  const Shape expected{line.height, line.width, 1};
  std::function<Shape(const Shape&)> output = [](const Shape& image) { return image; };
  for (std::size_t number = 0; number < convolutions.size(); ++number) {
    ConvolutionUnitOptions unit{.convolution = convolutions[number], .activation = activation};
    unit.convolution.input_gradient = number > 0;
    output = [before = output, options = unit.convolution](const Shape& image) {
      return convolved(before(image), options);
    };
    const std::string name = fmt::format("convolutions.{}", number);
    architecture.blocks.push_back({name, cost_of(unit.convolution, output(expected), bytes), output,
                                   [=](const Build& build) -> std::unique_ptr<Layer> {
                                     if (number == 0) return std::make_unique<Stem>(build, name, unit);
                                     return std::make_unique<ConvolutionUnit>(build, name, unit);
                                   }});
  }
  return output;
}

void add_line_head(Architecture& architecture, std::int64_t hidden, int classes, double columns, double bytes) {
  const double weights = static_cast<double>(hidden) * classes;
  architecture.blocks.push_back(
      {"head", {2.0 * columns * weights, 4.0 * weights, bytes * columns * classes}, nullptr, [=](const Build& build) {
         return std::make_unique<CtcHead>(build, "head", hidden, classes);
       }});
  architecture.metrics = {{"loss", "nats a line"}, {"character_error", ""}, {"exact_lines", ""}};
}

}  // namespace trireme
