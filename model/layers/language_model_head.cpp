#include "model/layers/language_model_head.h"

#include "model/layers/embedding.h"

namespace trireme {
namespace {

enum : std::size_t { saved_normed, saved_logits, saved_log_sum_exp };
enum : std::size_t { norm_child };
constexpr std::size_t targets_field = 1;

}  // namespace

LanguageModelHead::LanguageModelHead(const Build& build, const std::string& norm_name,
                                     const LanguageModelHeadOptions& options)
    : norm_(build, norm_name, options.hidden, options.norm, options.bias) {
  ShardSpec shard = vocabulary_shard(build, options.vocabulary, options.hidden);
  shard.replica = options.first_copy ? 0 : 1;
  first_token_ = shard.offset[0];
  table_ = build.store.declare({options.table, shard, Initial::normal(options.deviation), true});
}

Tensor LanguageModelHead::forward(const Context& context, const Tensor& x, Saved& saved) const {
  const Tensor normed = norm_.forward(context, x, saved.child(norm_child));
  const Shape& shape = x.shape();
  MatmulArgs args;
  args.a = normed;
  args.b = table_->working;
  args.transpose_b = true;
  args.out = context.backend.allocate({shape[0], shape[1], table_->local_shape()[0]}, context.type);
  context.backend.matmul(args);
  if (context.microbatch.field(targets_field).empty()) return args.out;
  if (context.training) {
    saved[saved_normed] = normed;
    saved[saved_logits] = args.out;
  }
  return loss(context, args.out, saved);
}

Tensor LanguageModelHead::loss(const Context& context, const Tensor& logits, Saved& saved) const {
  Backend& backend = context.backend;
  const std::int64_t rows = logits.shape().rows();
  const Tensor targets = context.microbatch.field(targets_field).reshape({rows});
  CrossEntropyStatisticsArgs mine{logits, targets, first_token_, backend.allocate({3, rows}, DType::f32)};
  backend.cross_entropy_statistics(mine);
  const Tensor all = backend.allocate({context.tensor.size(), 3, rows}, DType::f32);
  context.tensor.all_gather(mine.statistics, all).wait();
  CrossEntropyLossArgs args{all, targets, backend.allocate({rows}, DType::f32), backend.allocate({rows}, DType::f32)};
  backend.cross_entropy_loss(args);
  if (context.training) saved[saved_log_sum_exp] = args.log_sum_exp;
  Tensor totals = backend.allocate({1, 2}, DType::f64);
  backend.zero(totals);
  backend.add_sum(args.losses, 1.0, totals.view(0, {1}));
  backend.add_count(targets, totals.view(1, {1}));
  return totals;
}

Tensor LanguageModelHead::backward_input(const Context& context, const Tensor&, Saved& saved) const {
  const Tensor& logits = saved[saved_logits];
  const Shape& shape = logits.shape();
  context.backend.cross_entropy_gradient({logits, context.microbatch.field(targets_field).reshape({shape.rows()}),
                                          saved[saved_log_sum_exp], first_token_, context.loss_scale});
  MatmulArgs args;
  args.a = logits;
  args.b = table_->working;
  args.out = context.backend.allocate({shape[0], shape[1], table_->local_shape()[1]}, context.type);
  context.backend.matmul(args);
  context.tensor.all_reduce(args.out, Reduction::sum).wait();
  return norm_.backward_input(context, args.out, saved.child(norm_child));
}

void LanguageModelHead::backward_weight(const Context& context, Saved& saved) const {
  MatmulArgs args;
  args.a = saved[saved_logits];
  args.transpose_a = true;
  args.b = saved[saved_normed];
  args.out = table_->gradient;
  args.accumulate = true;
  context.backend.matmul(args);
  norm_.backward_weight(context, saved.child(norm_child));
}

}  // namespace trireme
