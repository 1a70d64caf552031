#include "model/optim/optimizer.h"

namespace trireme {

Adamw::Adamw(Backend& backend, ParameterStore& store, const AdamwOptions& options)
    : backend_(backend), store_(store), options_(options), ranges_(store.ranges()) {
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

void Adamw::add_gradient_norm_squared(const Tensor& norm_squared) const {
  // Neighbours that differ in their decay alone go together.
  for (std::size_t i = 0; i < ranges_.size();) {
    const std::size_t first = i;
    while (i < ranges_.size() && ranges_[i].counted == ranges_[first].counted) ++i;
    const std::int64_t count = ranges_[i - 1].first + ranges_[i - 1].count - ranges_[first].first;
    if (ranges_[first].counted)
      backend_.add_sum_of_squares(store_.gradients.view(ranges_[first].first, {count}), norm_squared);
  }
}

void Adamw::step(std::int64_t step, double learning_rate, const Tensor& norm_squared) {
  AdamwArgs args{.value = store_.values,
                 .gradient = store_.gradients,
                 .first_moment = store_.first_moments,
                 .second_moment = store_.second_moments,
                 .working = store_.working,
                 .gradient_norm_squared = norm_squared};
  args.clip_norm = options_.clip_norm;
  args.learning_rate = learning_rate;
  args.beta1 = options_.beta1;
  args.beta2 = options_.beta2;
  args.epsilon = options_.epsilon;
  args.weight_decay = options_.weight_decay;
  args.step = step;
  args.decay_mask = decay_mask_;
  backend_.adamw(args);
  backend_.zero(store_.gradients);
}

}  // namespace trireme
