#include "model/layers/row_selection.h"

namespace trireme {
namespace {

/// Sample `number` of a tensor [batch, ...], without the batch axis.
Tensor sample_of(const Tensor& all, std::int64_t number) {
  const Shape shape = all.shape().sample();
  return all.view(number * shape.elements(), shape);
}

Tensor row_of(const Tensor& rows, std::int64_t number) {
  return rows.view(number * rows.shape()[1], {1, rows.shape()[1]});
}

}  // namespace

Tensor select_rows(const Context& context, const Tensor& x, const Tensor& rows) {
  const std::int64_t batch = x.shape()[0];
  Tensor y = context.backend.allocate({batch, rows.shape()[1], x.shape()[2]}, context.type);
  for (std::int64_t sample = 0; sample < batch; ++sample) {
    EmbeddingArgs args;  // a sample is a table, and its rows are looked up
    args.tokens = row_of(rows, sample);
    args.table = sample_of(x, sample);
    args.out = sample_of(y, sample);
    context.backend.embedding(args);
  }
  return y;
}

Tensor select_rows_backward(const Context& context, const Tensor& dy, const Tensor& rows, std::int64_t time) {
  const std::int64_t batch = dy.shape()[0];
  Tensor dx = context.backend.allocate({batch, time, dy.shape()[2]}, DType::f32);
  context.backend.zero(dx);
  for (std::int64_t sample = 0; sample < batch; ++sample) {
    EmbeddingBackwardArgs args;
    args.tokens = row_of(rows, sample);
    args.dout = sample_of(dy, sample);
    args.dtable = sample_of(dx, sample);
    context.backend.embedding_backward(args);
  }
  if (context.type == DType::f32) return dx;
  Tensor rounded = context.backend.allocate(dx.shape(), context.type);
  context.backend.cast(dx, rounded);
  return rounded;
}

Tensor first_rows(const Context& context, std::int64_t batch) {
  Tensor rows = context.backend.allocate({batch, 1}, DType::i32);
  context.backend.zero(rows);
  return rows;
}

}  // namespace trireme
