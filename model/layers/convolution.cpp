#include "model/layers/convolution.h"

#include <cmath>

#include "kernels/convolution_shape.h"
#include "kernels/error.h"

namespace trireme {
namespace {

enum : std::size_t { saved_input, saved_output_gradient };

double deviation_of(const ConvolutionOptions& options) {
  if (options.deviation > 0) return options.deviation;
  const double fan_out =
      static_cast<double>(options.rows * options.columns * options.outputs) / static_cast<double>(options.shape.groups);
  return std::sqrt(2.0 / fan_out);
}

}  // namespace

Convolution::Convolution(const Build& build, const std::string& name, const ConvolutionOptions& options)
    : shape_(options.shape), input_gradient_(options.input_gradient) {
  if (options.channels % shape_.groups != 0 || options.outputs % shape_.groups != 0)
    fail("{}: {} channels and {} outputs in {} groups", name, options.channels, options.outputs, shape_.groups);
  const Shape filter = {options.outputs, options.rows, options.columns, options.channels / shape_.groups};
  weight_ =
      build.store.declare(build.replicated(name + ".weight", filter, Initial::normal(deviation_of(options)), true));
  if (options.bias)
    bias_ = build.store.declare(build.replicated(name + ".bias", {options.outputs}, Initial::zero(), false));
}

Tensor Convolution::forward(const Context& context, const Tensor& x, Saved& saved) const {
  ConvolutionArgs args{.shape = shape_, .x = x, .filter = weight_->working};
  if (bias_ != nullptr) args.bias = bias_->working;
  args.y = context.backend.allocate(convolution_output(shape_, x.shape(), args.filter.shape()), context.type);
  context.backend.convolution(args);
  if (context.training) saved[saved_input] = x;
  return args.y;
}

Tensor Convolution::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  saved[saved_output_gradient] = dy;
  if (!input_gradient_) return {};
  const ConvolutionBackwardDataArgs args{.shape = shape_,
                                         .dy = dy,
                                         .filter = weight_->working,
                                         .dx = context.backend.allocate(saved[saved_input].shape(), context.type)};
  context.backend.convolution_backward_data(args);
  return args.dx;
}

void Convolution::backward_weight(const Context& context, Saved& saved) const {
  const Tensor& dy = saved[saved_output_gradient];
  context.backend.convolution_backward_filter(
      {.shape = shape_, .x = saved[saved_input], .dy = dy, .dfilter = weight_->gradient});
  if (bias_ != nullptr) context.backend.add_column_sums(dy, bias_->gradient);
}

}  // namespace trireme
