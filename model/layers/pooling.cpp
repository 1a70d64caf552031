#include "model/layers/pooling.h"

#include "kernels/convolution_shape.h"

namespace trireme {
namespace {

enum : std::size_t { saved_input, saved_output };

}  // namespace

PoolingArgs Pooling::describe(const Tensor& x) const {
  return {.kind = options_.kind,
          .height = options_.height > 0 ? options_.height : static_cast<int>(x.shape()[1]),
          .width = options_.width > 0 ? options_.width : static_cast<int>(x.shape()[2]),
          .stride_height = options_.stride_height,
          .stride_width = options_.stride_width,
          .pad_height = options_.pad_height,
          .pad_width = options_.pad_width,
          .x = x};
}

Tensor Pooling::forward(const Context& context, const Tensor& x, Saved& saved) const {
  PoolingArgs args = describe(x);
  args.y = context.backend.allocate(pooling_output(args, x.shape()), context.type);
  context.backend.pooling(args);
  if (context.training) {
    saved[saved_input] = x;
    saved[saved_output] = args.y;
  }
  return args.y;
}

Tensor Pooling::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  const Tensor& x = saved[saved_input];
  PoolingArgs forward = describe(x);
  forward.y = saved[saved_output];
  const PoolingBackwardArgs args{.forward = forward, .dy = dy, .dx = context.backend.allocate(x.shape(), context.type)};
  context.backend.pooling_backward(args);
  saved.clear();
  return args.dx;
}

}  // namespace trireme
