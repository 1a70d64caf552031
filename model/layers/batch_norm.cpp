#include "model/layers/batch_norm.h"

namespace trireme {
namespace {

enum : std::size_t { saved_input, saved_output, saved_mean, saved_inverse_deviation, saved_totals };

Parameter* declare_tracked(const Build& build, const std::string& name, std::int64_t channels, Initial initial) {
  ParameterDeclaration declaration = build.replicated(name, {channels}, initial, false);
  declaration.update = Update::tracked;
  return build.store.declare(std::move(declaration));
}

/// Rows that the totals of these rows are over, once summed.
double rows_of(const Context& context, const Tensor& x, bool synchronised) {
  return static_cast<double>(x.shape().rows()) * (synchronised ? context.data.size() : 1);
}

}  // namespace

BatchNorm::BatchNorm(const Build& build, const std::string& name, const BatchNormOptions& options) : options_(options) {
  const Initial scale = options.zero_scale ? Initial::zero() : Initial::one();
  weight_ = build.store.declare(build.replicated(name + ".weight", {options.channels}, scale, false));
  bias_ = build.store.declare(build.replicated(name + ".bias", {options.channels}, Initial::zero(), false));
  running_mean_ = declare_tracked(build, name + ".running_mean", options.channels, Initial::zero());
  running_variance_ = declare_tracked(build, name + ".running_variance", options.channels, Initial::one());
}

BatchNormArgs BatchNorm::describe(const Tensor& x) const {
  return {.x = x, .weight = weight_->working, .bias = bias_->working, .relu = options_.relu};
}

void BatchNorm::find_moments(const Context& context, BatchNormArgs& args) const {
  Backend& backend = context.backend;
  args.mean = backend.allocate({options_.channels}, DType::f32);
  args.inverse_deviation = backend.allocate({options_.channels}, DType::f32);
  BatchNormMomentsArgs moments{.running_mean = running_mean_->value,
                               .running_variance = running_variance_->value,
                               .epsilon = options_.epsilon,
                               .mean = args.mean,
                               .inverse_deviation = args.inverse_deviation};
  if (context.training) {
    moments.totals = backend.allocate({2, options_.channels}, DType::f32);
    moments.shift = running_mean_->value;
    moments.count = rows_of(context, args.x, options_.synchronised);
    moments.track_mean = running_mean_->gradient;
    moments.track_variance = running_variance_->gradient;
    moments.track_factor = options_.momentum / context.microbatches;
    backend.batch_norm_statistics({.x = args.x, .shift = moments.shift, .totals = moments.totals});
    if (options_.synchronised) context.data.all_reduce(moments.totals, Reduction::sum).wait();
  }
  backend.batch_norm_moments(moments);
}

Tensor BatchNorm::forward_add(const Context& context, const Tensor& x, const Tensor& residual, Saved& saved) const {
  BatchNormArgs args = describe(x);
  find_moments(context, args);
  args.residual = residual;
  args.y = context.backend.allocate(x.shape(), context.type);
  context.backend.batch_norm(args);
  if (context.training) {
    saved[saved_input] = x;
    saved[saved_mean] = args.mean;
    saved[saved_inverse_deviation] = args.inverse_deviation;
    if (options_.relu) saved[saved_output] = args.y;
  }
  return args.y;
}

Tensor BatchNorm::backward_input_add(const Context& context, const Tensor& dy, Tensor* residual_gradient,
                                     Saved& saved) const {
  Backend& backend = context.backend;
  BatchNormArgs forward = describe(saved[saved_input]);
  forward.mean = saved[saved_mean];
  forward.inverse_deviation = saved[saved_inverse_deviation];
  forward.y = options_.relu ? saved[saved_output] : saved[saved_input];
  BatchNormBackwardArgs args{.forward = forward,
                             .dy = dy,
                             .totals = backend.allocate({2, options_.channels}, DType::f32),
                             .count = rows_of(context, dy, options_.synchronised)};
  backend.batch_norm_backward_statistics({.forward = forward, .dy = dy, .totals = args.totals});
  saved[saved_totals] = args.totals;  // of this rank: gradients of weights are summed over the ranks later
  if (options_.synchronised && context.data.size() > 1) {
    args.totals = backend.allocate({2, options_.channels}, DType::f32);
    backend.cast(saved[saved_totals], args.totals);
    context.data.all_reduce(args.totals, Reduction::sum).wait();
  }
  args.dx = backend.allocate(dy.shape(), context.type);
  if (residual_gradient != nullptr)
    args.residual_gradient = *residual_gradient = backend.allocate(dy.shape(), context.type);
  backend.batch_norm_backward(args);
  for (const std::size_t done : {saved_input, saved_output}) saved[done] = Tensor();
  return args.dx;
}

void BatchNorm::backward_weight(const Context& context, Saved& saved) const {
  const Tensor& totals = saved[saved_totals];
  const Shape channels = {options_.channels};
  context.backend.add(bias_->gradient, totals.view(0, channels), bias_->gradient);
  context.backend.add(weight_->gradient, totals.view(options_.channels, channels), weight_->gradient);
}

}  // namespace trireme
