#include "model/layers/feed_forward.h"

#include <utility>

namespace trireme {
namespace {

enum : std::size_t { saved_pre_activation };
enum : std::size_t { input_child, output_child };

std::vector<Linear::Output> input_widths(const std::string& name, const FeedForwardOptions& options) {
  if (options.gated) return {{name + ".gate", options.inner}, {name + ".up", options.inner}};
  return {{name + ".up", options.inner}};
}

}  // namespace

FeedForward::FeedForward(const Build& build, const std::string& name, const FeedForwardOptions& options)
    : gated_(options.gated),
      input_(build, input_widths(name, options), options.hidden, Split::column, options.bias, options.deviation),
      output_(build, {{name + ".down", options.hidden}}, options.inner, Split::row, options.bias,
              options.projection_deviation) {}

Tensor FeedForward::forward(const Context& context, const Tensor& x, Saved& saved) const {
  Tensor inner;  // [batch, time, inner here]
  Tensor pre_activation;
  if (gated_) {
    pre_activation = input_.forward(context, x, saved.child(input_child));
    const Shape& wide = pre_activation.shape();
    inner = context.backend.allocate({wide[0], wide[1], wide[2] / 2}, context.type);
    context.backend.swiglu(pre_activation, inner);
  } else {
    inner = input_.forward(context, x, saved.child(input_child), Activation::gelu,
                           context.training ? &pre_activation : nullptr);
  }
  if (context.training) saved[saved_pre_activation] = pre_activation;
  return output_.forward(context, inner, saved.child(output_child));
}

Tensor FeedForward::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  const Tensor pre_activation = std::exchange(saved[saved_pre_activation], Tensor());
  Tensor gradient;  // of pre_activation
  if (gated_) {
    const Tensor inner = output_.backward_input(context, dy, saved.child(output_child));
    gradient = context.backend.allocate(pre_activation.shape(), context.type);
    context.backend.swiglu_backward(pre_activation, inner, gradient);
  } else {
    gradient = output_.backward_input_through(context, dy, saved.child(output_child), Activation::gelu, pre_activation);
  }
  return input_.backward_input(context, gradient, saved.child(input_child));
}

void FeedForward::backward_weight(const Context& context, Saved& saved) const {
  input_.backward_weight(context, saved.child(input_child));
  output_.backward_weight(context, saved.child(output_child));
}

}  // namespace trireme
