#include "model/layers/linear.h"

namespace trireme {
namespace {

enum : std::size_t { saved_input, saved_output_gradient };

}  // namespace

Linear::Linear(const Build& build, const std::vector<Output>& outputs, std::int64_t inputs, Split split, bool bias,
               double deviation)
    : split_(split), adds_bias_(split != Split::row || build.tensor_rank == 0) {
  std::vector<ParameterDeclaration> weights;
  std::vector<ParameterDeclaration> biases;
  for (const auto& [name, width] : outputs) {
    const Shape shape{width, inputs};
    const auto initial = Initial::normal(deviation);
    weights.push_back(split == Split::none
                          ? build.replicated(name + ".weight", shape, initial, true)
                          : build.split(name + ".weight", shape, split == Split::column ? 0 : 1, initial, true));
    biases.push_back(split == Split::column ? build.split(name + ".bias", {width}, 0, Initial::zero(), false)
                                            : build.replicated(name + ".bias", {width}, Initial::zero(), false));
  }
  weight_ = build.store.declare_joined(std::move(weights));
  if (bias) bias_ = build.store.declare_joined(std::move(biases));
}

Tensor Linear::forward(const Context& context, const Tensor& x, Saved& saved, Activation activation,
                       Tensor* pre_activation) const {
  const Shape shape = x.shape().with(x.shape().rank() - 1, weight_->local_shape()[0]);
  MatmulArgs args{.a = x, .b = weight_->working, .out = context.backend.allocate(shape, context.type)};
  args.transpose_b = true;
  args.activation = activation;
  if (bias_ != nullptr && adds_bias_) args.bias = bias_->working;
  if (pre_activation != nullptr) args.pre_activation = *pre_activation = context.backend.allocate(shape, context.type);
  context.backend.matmul(args);
  if (split_ == Split::row) context.tensor.all_reduce(args.out, Reduction::sum).wait();
  if (context.training) saved[saved_input] = x;
  return args.out;
}

Tensor Linear::backward_input_through(const Context& context, const Tensor& dy, Saved& saved, Activation activation,
                                      const Tensor& gradient_at) const {
  const Shape shape = dy.shape().with(dy.shape().rank() - 1, weight_->local_shape()[1]);
  MatmulArgs args{.a = dy, .b = weight_->working, .out = context.backend.allocate(shape, context.type)};
  args.activation = activation;
  args.gradient_at = gradient_at;
  context.backend.matmul(args);
  if (split_ == Split::column) context.tensor.all_reduce(args.out, Reduction::sum).wait();
  saved[saved_output_gradient] = dy;
  return args.out;
}

void Linear::backward_weight(const Context& context, Saved& saved) const {
  const Tensor& x = saved[saved_input];
  const Tensor& dy = saved[saved_output_gradient];
  MatmulArgs args{.a = dy, .b = x, .out = weight_->gradient};
  args.transpose_a = true;
  args.accumulate = true;
  if (bias_ != nullptr) args.bias_gradient = bias_->gradient;
  context.backend.matmul(args);
}

}  // namespace trireme
