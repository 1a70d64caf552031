#include "model/optim/optimizer.h"

#include "model/optim/layerwise.h"

namespace trireme {

TrainingState training_state_of(const UpdateRule& rule) {
  if (rule.kind == OptimizerKind::adamw || rule.kind == OptimizerKind::lamb) return TrainingState::second_moments;
  return rule.momentum > 0.0 ? TrainingState::first_moments : TrainingState::gradients;
}

Optimizer::Optimizer(Backend& backend, ParameterStore& store, const UpdateRule& rule)
    : backend_(backend), store_(store), rule_(rule), ranges_(store.ranges()) {
  constexpr std::int64_t group = 16;  // elements of one bit; parameters begin at such
  std::vector<std::uint32_t> mask(static_cast<std::size_t>((store.elements() + 32 * group - 1) / (32 * group)));
  for (const auto& range : ranges_) {
    if (!range.decay) continue;
    for (std::int64_t bit = range.first / group; bit < (range.first + range.count) / group; ++bit)
      mask[static_cast<std::size_t>(bit / 32)] |= 1U << (bit % 32);
  }
  decay_mask_ = backend.allocate({static_cast<std::int64_t>(mask.size())}, DType::i32);
  backend.upload(mask.data(), decay_mask_);
}

void Optimizer::add_gradient_norm_squared(const Tensor& norm_squared) const {
  // Neighbours that differ in their decay alone go together.
  for (std::size_t i = 0; i < ranges_.size();) {
    const std::size_t first = i;
    while (i < ranges_.size() && ranges_[i].counted == ranges_[first].counted) ++i;
    const std::int64_t count = ranges_[i - 1].first + ranges_[i - 1].count - ranges_[first].first;
    if (ranges_[first].counted)
      backend_.add_sum_of_squares(store_.gradients.view(ranges_[first].first, {count}), norm_squared);
  }
}

void Optimizer::step(std::int64_t step, double learning_rate, const Tensor& norm_squared, double gradient_scale) {
  update({step, learning_rate, norm_squared, gradient_scale});
  backend_.zero(store_.gradients);
  store_.update_tracked(backend_);
}

AdamwArgs Optimizer::adamw_args(const Step& step) const {
  AdamwArgs args{.value = store_.values,
                 .gradient = store_.gradients,
                 .first_moment = store_.first_moments,
                 .second_moment = store_.second_moments,
                 .working = store_.working,
                 .gradient_norm_squared = step.norm_squared};
  args.clip_norm = rule_.clip_norm;
  args.gradient_scale = step.gradient_scale;
  args.learning_rate = step.learning_rate;
  args.beta1 = rule_.beta1;
  args.beta2 = rule_.beta2;
  args.epsilon = rule_.epsilon;
  args.weight_decay = rule_.weight_decay;
  args.step = step.number;
  args.decay_mask = decay_mask_;
  return args;
}

std::unique_ptr<Optimizer> make_optimizer(Backend& backend, ParameterStore& store, Communicator& tensor,
                                          const UpdateRule& rule) {
  switch (rule.kind) {
    case OptimizerKind::adamw:
      return std::make_unique<Adamw>(backend, store, rule);
    case OptimizerKind::sgd:
      return std::make_unique<Sgd>(backend, store, rule);
    case OptimizerKind::lars:
      return std::make_unique<Lars>(backend, store, tensor, rule);
    case OptimizerKind::lamb:
      return std::make_unique<Lamb>(backend, store, tensor, rule);
  }
  return nullptr;
}

}  // namespace trireme
