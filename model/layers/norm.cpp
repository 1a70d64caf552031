#include "model/layers/norm.h"

namespace trireme {
namespace {

enum : std::size_t { saved_input, saved_output_gradient, saved_mean, saved_inverse_deviation };

}  // namespace

Norm::Norm(const Build& build, const std::string& name, std::int64_t size, NormKind kind, bool bias) : kind_(kind) {
  weight_ = build.store.declare(build.replicated(name + ".weight", {size}, Initial::one(), false));
  if (bias && kind == NormKind::layer)
    bias_ = build.store.declare(build.replicated(name + ".bias", {size}, Initial::zero(), false));
}

Tensor Norm::forward_add(const Context& context, const Tensor& x, const Tensor& residual, Tensor* sum,
                         Saved& saved) const {
  Backend& backend = context.backend;
  const std::int64_t rows = x.shape().rows();
  NormArgs args{.kind = kind_, .x = x, .residual = residual, .weight = weight_->working};
  if (sum != nullptr) args.sum = *sum = backend.allocate(x.shape(), context.type);
  if (bias_ != nullptr) args.bias = bias_->working;
  args.y = backend.allocate(x.shape(), context.type);
  if (kind_ == NormKind::layer) args.mean = backend.allocate({rows}, DType::f32);
  args.inverse_deviation = backend.allocate({rows}, DType::f32);
  backend.norm(args);
  if (context.training) {
    saved[saved_input] = sum != nullptr ? *sum : x;
    saved[saved_mean] = args.mean;
    saved[saved_inverse_deviation] = args.inverse_deviation;
  }
  return args.y;
}

Tensor Norm::backward_input_add(const Context& context, const Tensor& dy, const Tensor& residual_gradient,
                                Saved& saved) const {
  NormBackwardInputArgs args{.kind = kind_,
                             .x = saved[saved_input],
                             .dy = dy,
                             .weight = weight_->working,
                             .mean = saved[saved_mean],
                             .inverse_deviation = saved[saved_inverse_deviation],
                             .residual_gradient = residual_gradient,
                             .dx = context.backend.allocate(dy.shape(), context.type)};
  context.backend.norm_backward_input(args);
  saved[saved_output_gradient] = dy;
  return args.dx;
}

void Norm::backward_weight(const Context& context, Saved& saved) const {
  NormBackwardWeightArgs args{.kind = kind_,
                              .x = saved[saved_input],
                              .dy = saved[saved_output_gradient],
                              .mean = saved[saved_mean],
                              .inverse_deviation = saved[saved_inverse_deviation],
                              .dweight = weight_->gradient};
  if (bias_ != nullptr) args.dbias = bias_->gradient;
  context.backend.norm_backward_weight(args);
}

}  // namespace trireme
