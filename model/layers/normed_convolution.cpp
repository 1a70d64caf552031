#include "model/layers/normed_convolution.h"

#include <utility>

#include "kernels/convolution_shape.h"

namespace trireme {
namespace {

enum : std::size_t { saved_normed };
enum : std::size_t { convolution_child, norm_child };

}  // namespace

NormedConvolution::NormedConvolution(const Build& build, const std::string& name, const ConvolutionOptions& options,
                                     Activation activation)
    : convolution_(build, name + ".convolution", options),
      norm_(build, name + ".norm", {.channels = options.outputs, .relu = activation == Activation::relu}),
      activation_(activation) {}

Tensor NormedConvolution::forward(const Context& context, const Tensor& x, Saved& saved) const {
  Tensor input = x;
  if (x.dtype() != context.type) {
    input = context.backend.allocate(x.shape(), context.type);
    context.backend.cast(x, input);
  }
  const Tensor y = convolution_.forward(context, input, saved.child(convolution_child));
  const Tensor normed = norm_.forward(context, y, saved.child(norm_child));
  if (activation_ == Activation::none || activation_ == Activation::relu) return normed;
  if (context.training) saved[saved_normed] = normed;
  const Tensor out = context.backend.allocate(normed.shape(), context.type);
  context.backend.activate(activation_, normed, out);
  return out;
}

Tensor NormedConvolution::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  Tensor gradient = dy;
  if (const Tensor normed = std::exchange(saved[saved_normed], Tensor()); !normed.empty()) {
    gradient = context.backend.allocate(dy.shape(), context.type);
    context.backend.activate_backward(activation_, normed, dy, gradient);
  }
  gradient = norm_.backward_input(context, gradient, saved.child(norm_child));
  return convolution_.backward_input(context, gradient, saved.child(convolution_child));
}

void NormedConvolution::backward_weight(const Context& context, Saved& saved) const {
  norm_.backward_weight(context, saved.child(norm_child));
  convolution_.backward_weight(context, saved.child(convolution_child));
}

Shape convolved(const Shape& image, const ConvolutionOptions& options) {
  const Shape filter{options.outputs, options.rows, options.columns, options.channels / options.shape.groups};
  return convolution_output(options.shape, image.batch(1), filter).sample();
}

BlockCost normed_convolution_cost(const ConvolutionOptions& options, const Shape& output, double bytes) {
  const double inputs = static_cast<double>(options.channels / options.shape.groups);
  const double weights = options.rows * options.columns * inputs * static_cast<double>(options.outputs);
  const auto cells = static_cast<double>(output[0] * output[1]);
  return {2.0 * cells * weights, 4.0 * weights, 3.0 * bytes * static_cast<double>(output.elements())};
}

}  // namespace trireme
