#include "model/layers/batch_norm.h"

namespace trireme {
namespace {

enum : std::size_t { saved_x, saved_y, saved_mean, saved_inverse_deviation, saved_totals };
constexpr double momentum = 0.1;  ///< of the running statistics, a step

}  // namespace

BatchNorm::BatchNorm(const Build& build, const std::string& name, std::int64_t channels, bool relu)
    : channels_(channels), relu_(relu) {
  const auto declare = [&](const char* part, Initial initial, Update update) {
    ParameterDeclaration declaration = build.replicated(name + part, {channels}, initial, false);
    declaration.update = update;
    return build.store.declare(declaration);
  };
  weight_ = declare(".weight", Initial::one(), Update::trained);
  bias_ = declare(".bias", Initial::zero(), Update::trained);
  mean_ = declare(".running_mean", Initial::zero(), Update::tracked);
  variance_ = declare(".running_variance", Initial::one(), Update::tracked);
}

Tensor BatchNorm::forward(const Context& context, const Tensor& x, Saved& saved) const {
  Backend& backend = context.backend;
  BatchNormMomentsArgs moments{.running_mean = mean_->value, .running_variance = variance_->value};
  if (context.training) {
    moments.totals = backend.allocate({2, channels_}, DType::f32);
    moments.shift = mean_->value;
    moments.count = static_cast<double>(x.shape().rows());
    moments.track_mean = mean_->gradient;
    moments.track_variance = variance_->gradient;
    moments.track_factor = momentum / context.microbatches;
    backend.batch_norm_statistics({x, moments.shift, moments.totals});
  }
  moments.mean = backend.allocate({channels_}, DType::f32);
  moments.inverse_deviation = backend.allocate({channels_}, DType::f32);
  backend.batch_norm_moments(moments);
  BatchNormArgs args{.x = x,
                     .mean = moments.mean,
                     .inverse_deviation = moments.inverse_deviation,
                     .weight = weight_->working,
                     .bias = bias_->working};
  args.relu = relu_;
  args.y = backend.allocate(x.shape(), context.type);
  backend.batch_norm(args);
  if (context.training) {
    saved[saved_x] = x;
    saved[saved_mean] = args.mean;
    saved[saved_inverse_deviation] = args.inverse_deviation;
    saved[saved_y] = args.y;
  }
  return args.y;
}

BatchNormArgs BatchNorm::recall(Saved& saved) const {
  BatchNormArgs args{.x = saved[saved_x],
                     .mean = saved[saved_mean],
                     .inverse_deviation = saved[saved_inverse_deviation],
                     .weight = weight_->working,
                     .bias = bias_->working};
  args.relu = relu_;
  args.y = saved[saved_y];
  return args;
}

Tensor BatchNorm::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  Backend& backend = context.backend;
  const Tensor totals = backend.allocate({2, channels_}, DType::f32);
  backend.batch_norm_backward_statistics({recall(saved), dy, totals});
  BatchNormBackwardArgs args{.forward = recall(saved), .dy = dy, .totals = totals};
  args.count = static_cast<double>(dy.shape().rows());
  args.dx = backend.allocate(dy.shape(), context.type);
  backend.batch_norm_backward(args);
  saved[saved_totals] = totals;
  return args.dx;
}

void BatchNorm::backward_weight(const Context& context, Saved& saved) const {
  const Tensor& totals = saved[saved_totals];
  context.backend.add(bias_->gradient, totals.view(0, {channels_}), bias_->gradient);
  context.backend.add(weight_->gradient, totals.view(channels_, {channels_}), weight_->gradient);
}

}  // namespace trireme
