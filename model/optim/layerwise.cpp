#include "model/optim/layerwise.h"

#include <functional>
#include <vector>

#include "kernels/segments.h"

namespace trireme {
namespace {

using Takes = std::function<bool(const ParameterDeclaration&)>;

/// One segment for each part of each trained parameter, empty where `takes` says no.
std::vector<Segment> segments_of(const ParameterStore& store, const Takes& takes) {
  std::vector<Segment> segments;
  for (const Parameter& parameter : store.parameters()) {
    if (!parameter.trained()) continue;
    std::int64_t first = parameter.first();
    for (const auto& part : parameter.parts()) {
      const std::int64_t count = part.shard.extent.elements();
      segments.push_back({.first = first, .count = takes(part) ? count : 0});
      first += count;
    }
  }
  return segments;
}

}  // namespace

Tensor make_tiles(Backend& backend, const ParameterStore& store) {
  return make_tiles(backend, segments_of(store, [](const auto&) { return true; }));
}

LayerNorms::LayerNorms(Backend& backend, const ParameterStore& store, Communicator& tensor)
    : backend_(backend), tensor_(tensor) {
  // A box that is the whole is on every rank of the tensor axis, and the first one's counts. (The number of its replica
  // does not tell: a tied table's is another on another stage, where nobody else has it.)
  const auto segments = segments_of(store, [&](const ParameterDeclaration& part) {
    return part.decay && (!part.shard.whole() || tensor.rank() == 0);
  });
  tiles_ = make_tiles(backend, segments);
  squares_ = backend.allocate({2, static_cast<std::int64_t>(segments.size())}, DType::f64);
}

void LayerNorms::measure(const Tensor& values, const Tensor& gradients, SgdArgs& args) {
  const std::int64_t parameters = squares_.shape()[1];
  args.value_squares = squares_.view(0, {parameters});
  args.gradient_squares = squares_.view(parameters, {parameters});
  backend_.zero(squares_);
  backend_.add_segment_squares(values, tiles_, args.value_squares);
  backend_.add_segment_squares(gradients, tiles_, args.gradient_squares);
  tensor_.all_reduce(squares_, Reduction::sum).wait();
}

Sgd::Sgd(Backend& backend, ParameterStore& store, const UpdateRule& rule)
    : Optimizer(backend, store, rule), tiles_(make_tiles(backend, store)) {}

SgdArgs Sgd::sgd_args(const Step& step) const {
  SgdArgs args{.value = store_.values,
               .gradient = store_.gradients,
               .velocity = store_.first_moments,
               .working = store_.working,
               .tiles = tiles_,
               .gradient_norm_squared = step.norm_squared};
  args.clip_norm = rule_.clip_norm;
  args.gradient_scale = step.gradient_scale;
  args.learning_rate = step.learning_rate;
  args.decay_mask = decay_mask_;
  args.momentum = rule_.momentum;
  args.nesterov = rule_.nesterov;
  args.weight_decay = rule_.weight_decay;
  return args;
}

void Lars::update(const Step& step) {
  SgdArgs args = sgd_args(step);
  args.trust_coefficient = rule_.trust_coefficient;
  norms_.measure(store_.values, store_.gradients, args);
  backend_.sgd(args);
}

void Lamb::update(const Step& step) {
  AdamwArgs direction = adamw_args(step);
  direction.learning_rate = 1.0;
  direction.direction_only = true;
  backend_.adamw(direction);
  // What is left is a plain step along what is now in place of the gradients.
  SgdArgs args{.value = store_.values, .gradient = store_.gradients, .working = store_.working, .tiles = tiles_};
  args.learning_rate = step.learning_rate;
  norms_.measure(store_.values, store_.gradients, args);
  backend_.sgd(args);
}

}  // namespace trireme
