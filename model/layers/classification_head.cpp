#include "model/layers/classification_head.h"

#include <array>

namespace trireme {
namespace {

enum : std::size_t { saved_input, saved_logits, saved_log_sum_exp };
constexpr std::size_t targets_field = 1;
constexpr std::array<int, 2> tops = {1, 5};

}  // namespace

ClassificationHead::ClassificationHead(const Build& build, const std::string& name,
                                       const ClassificationHeadOptions& options)
    : options_(options) {
  weight_ = build.store.declare(build.replicated(name + ".weight", {options.classes, options.features},
                                                 Initial::normal(options.deviation), true));
  bias_ = build.store.declare(build.replicated(name + ".bias", {options.classes}, Initial::zero(), false));
}

Tensor ClassificationHead::forward(const Context& context, const Tensor& x, Saved& saved) const {
  MatmulArgs args{.a = x,
                  .b = weight_->working,
                  .out = context.backend.allocate({x.shape()[0], options_.classes}, context.type),
                  .transpose_b = true,
                  .bias = bias_->working};
  context.backend.matmul(args);
  if (context.microbatch.field(targets_field).empty()) return args.out;
  if (context.training) {
    saved[saved_input] = x;
    saved[saved_logits] = args.out;
  }
  return measure(context, args.out, saved);
}

Tensor ClassificationHead::measure(const Context& context, const Tensor& logits, Saved& saved) const {
  Backend& backend = context.backend;
  const std::int64_t rows = logits.shape()[0];
  const Tensor targets = context.microbatch.field(targets_field).reshape({rows});
  const Tensor statistics = backend.allocate({1, 4, rows}, DType::f32);
  backend.cross_entropy_statistics({logits, targets, 0, statistics.reshape({4, rows})});
  const CrossEntropyLossArgs loss{.statistics = statistics,
                                  .targets = targets,
                                  .log_sum_exp = backend.allocate({rows}, DType::f32),
                                  .losses = backend.allocate({rows}, DType::f32),
                                  .smoothing = smoothing(context)};
  backend.cross_entropy_loss(loss);
  if (context.training) saved[saved_log_sum_exp] = loss.log_sum_exp;
  Tensor totals = backend.allocate({1 + tops.size(), 2}, DType::f64);
  backend.zero(totals);
  backend.add_sum(loss.losses, 1.0, totals.view(0, {1}));
  backend.add_count(targets, totals.view(1, {1}));
  const Tensor places = backend.allocate({rows}, DType::i32);
  backend.target_places({logits, targets, 0, statistics, places});
  for (std::size_t i = 0; i < tops.size(); ++i)
    backend.add_hits({.places = places,
                      .targets = targets,
                      .top = tops[i],
                      .hits = totals.view(2 + 2 * static_cast<std::int64_t>(i), {1, 2})});
  return totals;
}

Tensor ClassificationHead::backward_input(const Context& context, const Tensor&, Saved& saved) const {
  const Tensor& logits = saved[saved_logits];
  const std::int64_t rows = logits.shape()[0];
  context.backend.cross_entropy_gradient({.logits = logits,
                                          .targets = context.microbatch.field(targets_field).reshape({rows}),
                                          .log_sum_exp = saved[saved_log_sum_exp],
                                          .scale = context.loss_scale,
                                          .smoothing = smoothing(context)});
  const MatmulArgs args{
      .a = logits, .b = weight_->working, .out = context.backend.allocate({rows, options_.features}, context.type)};
  context.backend.matmul(args);
  return args.out;
}

void ClassificationHead::backward_weight(const Context& context, Saved& saved) const {
  context.backend.matmul({.a = saved[saved_logits],
                          .b = saved[saved_input],
                          .out = weight_->gradient,
                          .transpose_a = true,
                          .accumulate = true,
                          .bias_gradient = bias_->gradient});
}

}  // namespace trireme
