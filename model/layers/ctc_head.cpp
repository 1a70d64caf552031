#include "model/layers/ctc_head.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "model/ctc_decode.h"

namespace trireme {
namespace {

enum : std::size_t { saved_input, saved_logits, saved_log_sum_exp, saved_states };
constexpr std::size_t labels_field = 1, steps_field = 2;
constexpr std::int32_t fills_up = -2;

std::vector<std::int32_t> download(Backend& backend, const Tensor& tensor) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(tensor.elements()));
  backend.download(tensor, values.data());
  return values;
}

/// Wrong characters, characters, texts without a fault, texts.
std::array<double, 4> count_errors(const Context& context, const Tensor& logits) {
  Backend& backend = context.backend;
  const Tensor& labels_tensor = context.microbatch.field(labels_field);
  const auto labels = download(backend, labels_tensor);
  const auto steps = download(backend, context.microbatch.field(steps_field));
  const auto longest = static_cast<std::size_t>(labels_tensor.shape()[1]);
  const std::vector<DecodedText> found = decode_greedily(backend, logits, steps);
  std::array<double, 4> counts{};
  for (std::size_t sample = 0; sample < steps.size(); ++sample) {
    const auto row = std::span(labels).subspan(sample * longest, longest);
    if (row.front() == fills_up) continue;
    const auto wanted = row.first(static_cast<std::size_t>(std::ranges::find(row, -1) - row.begin()));
    const std::int64_t errors = edit_distance(found[sample].labels, wanted);
    counts[0] += static_cast<double>(errors);
    counts[1] += static_cast<double>(wanted.size());
    counts[2] += errors == 0 ? 1 : 0;
    counts[3] += 1;
  }
  return counts;
}

}  // namespace

CtcHead::CtcHead(const Build& build, const std::string& name, std::int64_t hidden, std::int64_t classes)
    : classes_(classes) {
  const Initial initial = Initial::normal(1.0 / std::sqrt(static_cast<double>(hidden)));
  weight_ = build.store.declare(build.replicated(name + ".weight", {classes, hidden}, initial, true));
  bias_ = build.store.declare(build.replicated(name + ".bias", {classes}, Initial::zero(), false));
}

Tensor CtcHead::forward(const Context& context, const Tensor& x, Saved& saved) const {
  MatmulArgs args{.a = x, .b = weight_->working};
  args.transpose_b = true;
  args.bias = bias_->working;
  args.out = context.backend.allocate({x.shape()[0], x.shape()[1], classes_}, context.type);
  context.backend.matmul(args);
  if (context.microbatch.field(labels_field).empty()) return args.out;
  if (context.training) {
    saved[saved_input] = x;
    saved[saved_logits] = args.out;
  }
  return loss(context, args.out, saved);
}

Tensor CtcHead::loss(const Context& context, const Tensor& logits, Saved& saved) const {
  Backend& backend = context.backend;
  const std::int64_t batch = logits.shape()[0], time = logits.shape()[1];
  const Tensor& labels = context.microbatch.field(labels_field);
  CtcLossArgs args{.logits = logits,
                   .labels = labels,
                   .lengths = context.microbatch.field(steps_field),
                   .log_sum_exp = backend.allocate({batch, time}, DType::f32),
                   .states = backend.allocate({batch, time, 2 * labels.shape()[1] + 1}, DType::f64),
                   .losses = backend.allocate({batch}, DType::f32),
                   .counted = backend.allocate({batch}, DType::f32),
                   .impossible = backend.allocate({batch}, DType::f32)};
  backend.ctc_loss(args);
  if (context.training) {
    saved[saved_log_sum_exp] = args.log_sum_exp;
    saved[saved_states] = args.states;
  }
  Tensor totals = backend.allocate({3, 2}, DType::f64);
  backend.zero(totals);
  if (!context.training) backend.upload(count_errors(context, logits).data(), totals.view(2, {4}));
  backend.add_sum(args.losses, 1.0, totals.view(0, {1}));
  backend.add_sum(args.counted, 1.0, totals.view(1, {1}));
  return totals;
}

Tensor CtcHead::backward_input(const Context& context, const Tensor&, Saved& saved) const {
  const Tensor& logits = saved[saved_logits];
  context.backend.ctc_gradient({.logits = logits,
                                .labels = context.microbatch.field(labels_field),
                                .lengths = context.microbatch.field(steps_field),
                                .log_sum_exp = saved[saved_log_sum_exp],
                                .states = saved[saved_states],
                                .scale = context.loss_scale});
  MatmulArgs args{.a = logits, .b = weight_->working};
  args.out = context.backend.allocate(saved[saved_input].shape(), context.type);
  context.backend.matmul(args);
  return args.out;
}

void CtcHead::backward_weight(const Context& context, Saved& saved) const {
  MatmulArgs args{.a = saved[saved_logits], .b = saved[saved_input], .out = weight_->gradient};
  args.transpose_a = true;
  args.accumulate = true;
  args.bias_gradient = bias_->gradient;
  context.backend.matmul(args);
}

}  // namespace trireme
