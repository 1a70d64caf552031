#include "kernels/matmul_shape.h"

#include "kernels/error.h"

namespace trireme {
namespace {

/// An operand that may be left out.
void expect(const char* name, const Tensor& tensor, std::int64_t elements, DType type) {
  if (tensor.empty()) return;
  if (tensor.elements() != elements) fail("matmul: {} has {} elements, expected {}", name, tensor.elements(), elements);
  if (tensor.dtype() != type) fail("matmul: {} is {}, expected {}", name, name_of(tensor.dtype()), name_of(type));
}

}  // namespace

MatmulSizes sizes_of(const MatmulArgs& args) {
  const Shape& a = args.a.shape();
  const Shape& b = args.b.shape();
  const MatmulSizes sizes = {.m = args.transpose_a ? a.columns() : a.rows(),
                             .n = args.transpose_b ? b.rows() : b.columns(),
                             .k = args.transpose_a ? a.rows() : a.columns()};
  const std::int64_t inner_of_b = args.transpose_b ? b.columns() : b.rows();
  if (sizes.k == 0 || sizes.k != inner_of_b)
    fail("matmul: {}{} does not multiply {}{}", a.to_string(), args.transpose_a ? " transposed" : "", b.to_string(),
         args.transpose_b ? " transposed" : "");
  const DType input = args.a.dtype();
  if (args.b.dtype() != input) fail("matmul: {} times {}", name_of(input), name_of(args.b.dtype()));
  if (args.out.dtype() != input && args.out.dtype() != DType::f32)
    fail("matmul: {} inputs cannot give {}", name_of(input), name_of(args.out.dtype()));
  const bool forward = !args.bias.empty() || !args.pre_activation.empty();
  if (args.accumulate && (forward || args.activation != Activation::none || !args.gradient_at.empty()))
    fail("matmul: neither bias nor activation can follow a product that is added to its output");
  if (forward && !args.gradient_at.empty())
    fail("matmul: gradient_at is for the backward pass, bias and pre_activation for the forward pass");
  if (!args.bias_gradient.empty() && !args.transpose_a)
    fail("matmul: bias_gradient needs the first operand stored transposed");
  expect("out", args.out, sizes.m * sizes.n, args.out.dtype());
  expect("bias", args.bias, sizes.n, input);
  expect("pre_activation", args.pre_activation, sizes.m * sizes.n, input);
  expect("gradient_at", args.gradient_at, sizes.m * sizes.n, input);
  expect("bias_gradient", args.bias_gradient, sizes.m, DType::f32);
  return sizes;
}

}  // namespace trireme
