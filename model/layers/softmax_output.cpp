#include "model/layers/softmax_output.h"

#include "model/layers/embedding.h"

namespace trireme {
namespace {

enum : std::size_t { saved_input, saved_logits, saved_log_sum_exp };

}  // namespace

SoftmaxOutput::SoftmaxOutput(const Build& build, const SoftmaxOutputOptions& options) : split_(options.split) {
  const auto initial = Initial::normal(options.deviation);
  ParameterDeclaration weight = build.replicated(options.weight, {options.classes, options.hidden}, initial, true);
  ParameterDeclaration bias = build.replicated(options.bias, {options.classes}, Initial::zero(), false);
  if (split_) {
    weight.shard = vocabulary_shard(build, options.classes, options.hidden);
    weight.shard.replica = options.first_copy ? 0 : 1;
    bias.shard.offset[0] = weight.shard.offset[0];
    bias.shard.extent = {weight.shard.extent[0]};
    bias.shard.replica = 0;
  }
  first_class_ = weight.shard.offset[0];
  weight_ = build.store.declare(weight);
  bias_ = build.store.declare(bias);
}

Tensor SoftmaxOutput::logits(const Context& context, const Tensor& x, Saved& saved) const {
  MatmulArgs args{.a = x, .b = weight_->working};
  args.transpose_b = true;
  args.bias = bias_->working;
  args.out = context.backend.allocate(x.shape().with(x.shape().rank() - 1, weight_->local_shape()[0]), context.type);
  context.backend.matmul(args);
  if (context.training) {
    saved[saved_input] = x;
    saved[saved_logits] = args.out;
  }
  return args.out;
}

void SoftmaxOutput::measure(const Context& context, const Tensor& logits, const Tensor& targets, const Tensor& groups,
                            const Tensor& loss, const Tensor& hits, Saved& saved) const {
  Backend& backend = context.backend;
  const std::int64_t rows = logits.shape().rows();
  const Tensor wanted = targets.reshape({rows});
  Tensor all = backend.allocate({split_ ? context.tensor.size() : 1, 3, rows}, DType::f32);
  const CrossEntropyStatisticsArgs mine{logits, wanted, first_class_,
                                        split_ ? backend.allocate({3, rows}, DType::f32) : all.reshape({3, rows})};
  backend.cross_entropy_statistics(mine);
  if (split_) context.tensor.all_gather(mine.statistics, all).wait();
  const CrossEntropyLossArgs args{all, wanted, backend.allocate({rows}, DType::f32),
                                  backend.allocate({rows}, DType::f32)};
  backend.cross_entropy_loss(args);
  if (context.training) saved[saved_log_sum_exp] = args.log_sum_exp;
  backend.add_sum(args.losses, 1.0, loss.view(0, {1}));
  backend.add_count(wanted, loss.view(1, {1}));

  const Tensor places = backend.allocate({rows}, DType::i32);
  backend.target_places({logits, wanted, first_class_, all, places});
  if (split_) context.tensor.all_reduce(places, Reduction::sum).wait();
  HitsArgs count{.places = places, .targets = wanted, .hits = hits};
  if (!groups.empty()) count.groups = groups.reshape({rows});
  backend.add_hits(count);
}

Tensor SoftmaxOutput::backward_input(const Context& context, const Tensor& targets, float scale, Saved& saved) const {
  const Tensor& logits = saved[saved_logits];
  const Shape& shape = logits.shape();
  context.backend.cross_entropy_gradient(
      {logits, targets.reshape({shape.rows()}), saved[saved_log_sum_exp], first_class_, scale});
  MatmulArgs args{.a = logits, .b = weight_->working};
  args.out = context.backend.allocate(shape.with(shape.rank() - 1, weight_->local_shape()[1]), context.type);
  context.backend.matmul(args);
  if (split_) context.tensor.all_reduce(args.out, Reduction::sum).wait();
  return args.out;
}

void SoftmaxOutput::backward_weight(const Context& context, Saved& saved) const {
  MatmulArgs args{.a = saved[saved_logits], .b = saved[saved_input], .out = weight_->gradient};
  args.transpose_a = true;
  args.accumulate = true;
  args.bias_gradient = bias_->gradient;
  context.backend.matmul(args);
}

}  // namespace trireme
