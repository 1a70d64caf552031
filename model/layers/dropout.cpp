#include "model/layers/dropout.h"

namespace trireme {

Tensor Dropout::operator()(const Context& context, const Tensor& x, const Tensor& residual) const {
  const bool active = context.training && probability_ > 0.0F;
  if (!active && residual.empty()) return x;
  const Tensor out = context.backend.allocate(x.shape(), context.type);
  if (!active) {
    context.backend.add(residual, x, out);
    return out;
  }
  const std::int64_t elements_per_sample = x.elements() / x.shape()[0];
  DropoutArgs args;
  args.x = x;
  args.residual = residual;
  args.out = out;
  args.probability = probability_;
  args.seed = context.seed;
  args.stream = stream_;
  args.first_element = static_cast<std::uint64_t>(context.microbatch.first_sample * elements_per_sample);
  context.backend.dropout(args);
  return out;
}

}  // namespace trireme
