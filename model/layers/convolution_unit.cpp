#include "model/layers/convolution_unit.h"

namespace trireme {
namespace {

enum : std::size_t { saved_pre_activation };
enum : std::size_t { convolution_child, norm_child };

}  // namespace

ConvolutionUnit::ConvolutionUnit(const Build& build, const std::string& name, const ConvolutionUnitOptions& options)
    : activation_(options.activation),
      convolution_(build, name, options.convolution),
      norm_(build, name + ".norm",
            {.channels = options.convolution.outputs,
             .synchronised = options.synchronised,
             .relu = options.activation == Activation::relu,
             .zero_scale = options.zero_scale}) {}

Tensor ConvolutionUnit::forward_add(const Context& context, const Tensor& x, const Tensor& residual,
                                    Saved& saved) const {
  Tensor y = convolution_.forward(context, x, saved.child(convolution_child));
  y = norm_.forward_add(context, y, residual, saved.child(norm_child));
  if (in_norm()) return y;
  if (context.training) saved[saved_pre_activation] = y;
  Tensor activated = context.backend.allocate(y.shape(), context.type);
  context.backend.activate(activation_, y, activated);
  return activated;
}

Tensor ConvolutionUnit::backward_input_add(const Context& context, const Tensor& dy, Tensor* residual_gradient,
                                           Saved& saved) const {
  Tensor gradient = dy;
  if (!in_norm()) {
    gradient = context.backend.allocate(dy.shape(), context.type);
    context.backend.activate_backward(activation_, saved[saved_pre_activation], dy, gradient);
    saved[saved_pre_activation] = Tensor();
  }
  gradient = norm_.backward_input_add(context, gradient, residual_gradient, saved.child(norm_child));
  return convolution_.backward_input(context, gradient, saved.child(convolution_child));
}

void ConvolutionUnit::backward_weight(const Context& context, Saved& saved) const {
  convolution_.backward_weight(context, saved.child(convolution_child));
  norm_.backward_weight(context, saved.child(norm_child));
}

}  // namespace trireme
