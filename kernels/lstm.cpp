#include "kernels/lstm.h"

#include "kernels/error.h"
#include "kernels/expect.h"

namespace trireme {
namespace {

/// What all three calls use.
LstmSizes sizes_of_kept(const LstmArgs& args) {
  const Shape& inputs = args.inputs.shape();
  const Shape& outputs = args.outputs.shape();
  if (inputs.rank() != 3 || outputs.rank() != 4 || outputs[0] < 1 || outputs[0] > 2 || outputs.columns() < 1 ||
      inputs.columns() < 1)
    fail("LSTM: inputs {} and outputs {} must be [time, batch, inputs] and [1 or 2 directions, time, batch, hidden]",
         inputs.to_string(), outputs.to_string());
  const LstmSizes sizes = {
      .batch = inputs[1], .time = inputs[0], .inputs = inputs[2], .hidden = outputs[3], .directions = outputs[0]};
  const DType type = args.inputs.dtype();
  expect_working_type("LSTM inputs", args.inputs);
  expect_shape("LSTM outputs", args.outputs, {sizes.directions, sizes.time, sizes.batch, sizes.hidden}, type);
  expect_shape("LSTM gates", args.gates, {sizes.directions, sizes.time, sizes.batch, sizes.gates()}, type);
  return sizes;
}

LstmSizes sizes_of_recurrence(const LstmArgs& args) {
  const LstmSizes sizes = sizes_of_kept(args);
  const DType type = args.inputs.dtype();
  expect_shape("LSTM cells", args.cells, args.outputs.shape(), DType::f32);
  expect_shape("LSTM weight", args.weight, {sizes.directions, sizes.gates(), sizes.inputs}, type);
  expect_shape("LSTM recurrent_weight", args.recurrent_weight, {sizes.directions, sizes.gates(), sizes.hidden}, type);
  return sizes;
}

/// One direction's rows of one step: [batch, columns].
Tensor rows_of(const Tensor& tensor, std::int64_t direction, std::int64_t step) {
  const Shape& shape = tensor.shape();
  const std::int64_t row = (direction * shape[1] + LstmSizes::time_of(direction, step, shape[1])) * shape[2];
  return tensor.view(row * shape[3], {shape[2], shape[3]});
}

}  // namespace

LstmSizes sizes_of(const LstmArgs& args) {
  const LstmSizes sizes = sizes_of_recurrence(args);
  const DType type = args.inputs.dtype();
  expect_shape("LSTM x", args.x, {sizes.batch, sizes.time, sizes.inputs}, type);
  expect_shape("LSTM bias", args.bias, {sizes.directions, sizes.gates()}, type);
  expect_shape("LSTM y", args.y, {sizes.batch, sizes.time, sizes.directions * sizes.hidden}, type);
  return sizes;
}

LstmSizes sizes_of(const LstmBackwardInputArgs& args) {
  const LstmSizes sizes = sizes_of_recurrence(args.forward);
  const DType type = args.forward.inputs.dtype();
  expect_shape("LSTM dy", args.dy, {sizes.batch, sizes.time, sizes.directions * sizes.hidden}, type);
  expect_shape("LSTM dx", args.dx, {sizes.batch, sizes.time, sizes.inputs}, type);
  return sizes;
}

LstmSizes sizes_of(const LstmBackwardWeightArgs& args) {
  const LstmSizes sizes = sizes_of_kept(args.forward);
  expect_shape("LSTM dweight", args.dweight, {sizes.directions, sizes.gates(), sizes.inputs}, DType::f32);
  expect_shape("LSTM drecurrent_weight", args.drecurrent_weight, {sizes.directions, sizes.gates(), sizes.hidden},
               DType::f32);
  expect_shape("LSTM dbias", args.dbias, {sizes.directions, sizes.gates()}, DType::f32);
  return sizes;
}

Tensor direction_of(const Tensor& tensor, std::int64_t direction, std::int64_t rows) {
  const std::int64_t columns = tensor.shape().columns();
  return tensor.view(direction * rows * columns, {rows, columns});
}

void multiply_inputs(Backend& backend, const LstmArgs& args, const Tensor& z) {
  const std::int64_t rows = args.inputs.shape().rows();
  const std::int64_t gates = z.shape().columns();
  for (std::int64_t d = 0; d < z.shape()[0]; ++d)
    backend.matmul({.a = args.inputs,
                    .b = direction_of(args.weight, d, gates),
                    .out = direction_of(z, d, rows),
                    .transpose_b = true});
}

void add_recurrent_product(Backend& backend, const LstmArgs& args, const Tensor& z, std::int64_t direction,
                           std::int64_t step) {
  backend.matmul({.a = rows_of(args.outputs, direction, step - 1),
                  .b = direction_of(args.recurrent_weight, direction, z.shape().columns()),
                  .out = rows_of(z, direction, step),
                  .transpose_b = true,
                  .accumulate = true});
}

void multiply_recurrent_gradient(Backend& backend, const LstmArgs& args, std::int64_t direction, std::int64_t step,
                                 const Tensor& dh) {
  backend.matmul({.a = rows_of(args.gates, direction, step),
                  .b = direction_of(args.recurrent_weight, direction, args.gates.shape().columns()),
                  .out = dh});
}

void multiply_gradients(Backend& backend, const LstmArgs& args, const Tensor& dinputs) {
  const std::int64_t rows = dinputs.shape().rows();
  const std::int64_t gates = args.gates.shape().columns();
  for (std::int64_t d = 0; d < args.gates.shape()[0]; ++d)
    backend.matmul({.a = direction_of(args.gates, d, rows),
                    .b = direction_of(args.weight, d, gates),
                    .out = dinputs,
                    .accumulate = d > 0});
}

void add_weight_gradients(Backend& backend, const LstmBackwardWeightArgs& args) {
  const LstmSizes s = sizes_of(args);
  if (s.rows() == 0) return;
  for (std::int64_t d = 0; d < s.directions; ++d) {
    const Tensor dz = direction_of(args.forward.gates, d, s.rows());
    backend.matmul({.a = dz,
                    .b = args.forward.inputs,
                    .out = direction_of(args.dweight, d, s.gates()),
                    .transpose_a = true,
                    .accumulate = true,
                    .bias_gradient = args.dbias.view(d * s.gates(), {s.gates()})});
    // Every step but a direction's first has the output of the step before: the rows are those of a neighbour in time.
    const std::int64_t rows = s.rows() - s.batch;
    if (rows == 0) continue;
    const Tensor outputs = direction_of(args.forward.outputs, d, s.rows());
    const std::int64_t later = d == 0 ? s.batch : 0;  // row of dz whose step follows that of row `earlier` of outputs
    const std::int64_t earlier = d == 0 ? 0 : s.batch;
    backend.matmul({.a = dz.view(later * s.gates(), {rows, s.gates()}),
                    .b = outputs.view(earlier * s.hidden, {rows, s.hidden}),
                    .out = direction_of(args.drecurrent_weight, d, s.gates()),
                    .transpose_a = true,
                    .accumulate = true});
  }
}

}  // namespace trireme
