#include "model/layers/lstm.h"

#include <cmath>

namespace trireme {
namespace {

enum : std::size_t { saved_x, saved_y, saved_inputs, saved_gates, saved_cells, saved_outputs };

}  // namespace

Lstm::Lstm(const Build& build, const std::string& name, std::int64_t inputs, std::int64_t hidden)
    : inputs_(inputs), hidden_(hidden) {
  const auto matrix = [&](const char* part, std::int64_t columns) {
    const Initial initial = Initial::normal(1.0 / std::sqrt(static_cast<double>(columns)));
    return build.store.declare(build.replicated(name + part, {directions, 4 * hidden, columns}, initial, true));
  };
  weight_ = matrix(".weight", inputs);
  recurrent_weight_ = matrix(".recurrent_weight", hidden);
  bias_ = build.store.declare(build.replicated(name + ".bias", {directions, 4 * hidden}, Initial::zero(), false));
}

LstmArgs Lstm::describe(const Context& context, const Tensor& x) const {
  const std::int64_t batch = x.shape()[0], time = x.shape()[1];
  Backend& backend = context.backend;
  return {.x = x,
          .weight = weight_->working,
          .recurrent_weight = recurrent_weight_->working,
          .bias = bias_->working,
          .y = backend.allocate({batch, time, directions * hidden_}, context.type),
          .inputs = backend.allocate({time, batch, inputs_}, context.type),
          .gates = backend.allocate({directions, time, batch, 4 * hidden_}, context.type),
          .cells = backend.allocate({directions, time, batch, hidden_}, DType::f32),
          .outputs = backend.allocate({directions, time, batch, hidden_}, context.type)};
}

Tensor Lstm::forward(const Context& context, const Tensor& x, Saved& saved) const {
  const LstmArgs args = describe(context, x);
  context.backend.lstm(args);
  if (context.training) {
    saved[saved_x] = args.x;
    saved[saved_y] = args.y;
    saved[saved_inputs] = args.inputs;
    saved[saved_gates] = args.gates;
    saved[saved_cells] = args.cells;
    saved[saved_outputs] = args.outputs;
  }
  return args.y;
}

LstmArgs Lstm::recall(Saved& saved) const {
  return {.x = saved[saved_x],
          .weight = weight_->working,
          .recurrent_weight = recurrent_weight_->working,
          .bias = bias_->working,
          .y = saved[saved_y],
          .inputs = saved[saved_inputs],
          .gates = saved[saved_gates],
          .cells = saved[saved_cells],
          .outputs = saved[saved_outputs]};
}

Tensor Lstm::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  const LstmBackwardInputArgs args{recall(saved), dy, context.backend.allocate(saved[saved_x].shape(), context.type)};
  context.backend.lstm_backward_input(args);
  return args.dx;
}

void Lstm::backward_weight(const Context& context, Saved& saved) const {
  context.backend.lstm_backward_weight(
      {recall(saved), weight_->gradient, recurrent_weight_->gradient, bias_->gradient});
}

}  // namespace trireme
