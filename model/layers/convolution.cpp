#include "model/layers/convolution.h"

#include <cmath>

#include "kernels/convolution_shape.h"

namespace trireme {
namespace {

enum : std::size_t { saved_input, saved_output_gradient };

}  // namespace

Shape convolved(const Shape& image, const ConvolutionOptions& options) {
  const Shape filter{options.outputs, options.rows, options.columns, options.inputs / options.shape.groups};
  return convolution_output(options.shape, image.batch(1), filter).sample();
}

Convolution::Convolution(const Build& build, const std::string& name, const ConvolutionOptions& options)
    : options_(options) {
  const std::int64_t inputs = options.inputs / options.shape.groups;
  // He et al. 2015, by what leaves a filter.
  const auto fan_out = static_cast<double>(options.rows * options.columns * options.outputs / options.shape.groups);
  filter_ =
      build.store.declare(build.replicated(name + ".weight", {options.outputs, options.rows, options.columns, inputs},
                                           Initial::normal(std::sqrt(2.0 / fan_out)), true));
  if (options.bias)
    bias_ = build.store.declare(build.replicated(name + ".bias", {options.outputs}, Initial::zero(), false));
}

Tensor Convolution::forward(const Context& context, const Tensor& x, Saved& saved) const {
  ConvolutionArgs args{.shape = options_.shape, .x = x, .filter = filter_->working};
  if (bias_ != nullptr) args.bias = bias_->working;
  args.y = context.backend.allocate(convolved(x.shape().sample(), options_).batch(x.shape()[0]), context.type);
  context.backend.convolution(args);
  if (context.training) saved[saved_input] = x;
  return args.y;
}

Tensor Convolution::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  const Tensor dx = context.backend.allocate(saved[saved_input].shape(), context.type);
  context.backend.convolution_backward_data({options_.shape, dy, filter_->working, dx});
  take_gradient(dy, saved);
  return dx;
}

void Convolution::take_gradient(const Tensor& dy, Saved& saved) const { saved[saved_output_gradient] = dy; }

void Convolution::backward_weight(const Context& context, Saved& saved) const {
  context.backend.convolution_backward_filter(
      {options_.shape, saved[saved_input], saved[saved_output_gradient], filter_->gradient});
  if (bias_ != nullptr) context.backend.add_column_sums(saved[saved_output_gradient], bias_->gradient);
}

}  // namespace trireme
