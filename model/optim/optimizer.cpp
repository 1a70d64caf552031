#include "model/optim/optimizer.h"

namespace trireme {

Adamw::Adamw(Backend& backend, ParameterStore& store, const AdamwOptions& options)
    : backend_(backend), store_(store), options_(options), ranges_(store.ranges()) {}

void Adamw::add_gradient_norm_squared(const Tensor& norm_squared) const {
  for (const auto& range : ranges_)
    if (range.counted) backend_.add_sum_of_squares(store_.gradients.view(range.first, {range.count}), norm_squared);
}

void Adamw::step(std::int64_t step, double learning_rate, const Tensor& norm_squared) {
  for (const auto& range : ranges_) {
    const auto part = [&](const Tensor& arena) { return arena.view(range.first, {range.count}); };
    AdamwArgs args;
    args.value = part(store_.values);
    args.gradient = part(store_.gradients);
    args.first_moment = part(store_.first_moments);
    args.second_moment = part(store_.second_moments);
    if (!store_.working.empty()) args.working = part(store_.working);
    args.gradient_norm_squared = norm_squared;
    args.clip_norm = options_.clip_norm;
    args.learning_rate = learning_rate;
    args.beta1 = options_.beta1;
    args.beta2 = options_.beta2;
    args.epsilon = options_.epsilon;
    args.weight_decay = range.decay ? options_.weight_decay : 0.0;
    args.step = step;
    backend_.adamw(args);
  }
  backend_.zero(store_.gradients);
}

}  // namespace trireme
