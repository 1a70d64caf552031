#include "kernels/ctc_shape.h"

#include "kernels/error.h"
#include "kernels/expect.h"

namespace trireme {
namespace {

CtcSizes ctc_sizes(const Tensor& logits, const Tensor& labels, const Tensor& lengths, const Tensor& log_sum_exp,
                   const Tensor& states) {
  const Shape& x = logits.shape();
  if (x.rank() != 3 || labels.shape().rank() != 2 || x[2] < 2 || labels.shape()[1] < 1)
    fail("CTC: logits {} and labels {} must be [batch, time, classes] and [batch, longest text]", x.to_string(),
         labels.shape().to_string());
  expect_working_type("CTC logits", logits);
  const CtcSizes sizes = {.batch = x[0], .time = x[1], .classes = x[2], .longest = labels.shape()[1]};
  expect_elements("CTC labels", labels, sizes.batch * sizes.longest, DType::i32);
  if (!lengths.empty()) expect_elements("CTC lengths", lengths, sizes.batch, DType::i32);
  expect_elements("CTC log_sum_exp", log_sum_exp, sizes.batch * sizes.time, DType::f32);
  expect_elements("CTC states", states, sizes.batch * sizes.time * sizes.states(), DType::f64);
  return sizes;
}

}  // namespace

CtcSizes sizes_of(const CtcLossArgs& args) {
  const CtcSizes sizes = ctc_sizes(args.logits, args.labels, args.lengths, args.log_sum_exp, args.states);
  expect_elements("CTC losses", args.losses, sizes.batch, DType::f32);
  expect_elements("CTC counted", args.counted, sizes.batch, DType::f32);
  expect_elements("CTC impossible", args.impossible, sizes.batch, DType::f32);
  return sizes;
}

CtcSizes sizes_of(const CtcGradientArgs& args) {
  return ctc_sizes(args.logits, args.labels, args.lengths, args.log_sum_exp, args.states);
}

}  // namespace trireme
