// Matrix products. cuBLASLt adds biases and applies GELU and its gradient on the way to memory where it can; everything
// else follows the product as operations of its own.
#include "kernels/cuda/matmul_kernels.h"
#include "kernels/cuda/state.h"
#include "kernels/error.h"
#include "kernels/matmul_shape.h"

namespace trireme {
namespace {

cublasLtEpilogue_t with_bias(int epilogue, const Tensor& bias) {
  return static_cast<cublasLtEpilogue_t>(bias.empty() ? epilogue : epilogue | CUBLASLT_EPILOGUE_BIAS);
}

/// The epilogue that does all of a product with GELU or its gradient; DEFAULT where there is none. Not in f32, which is
/// there to check by: the library's GELU is made for the precision of bf16.
cublasLtEpilogue_t gelu_epilogue(const MatmulArgs& args, std::int64_t n) {
  if (args.activation != Activation::gelu || args.out.dtype() != DType::bf16) return CUBLASLT_EPILOGUE_DEFAULT;
  const Tensor& aux = args.gradient_at.empty() ? args.pre_activation : args.gradient_at;
  if (aux.empty()) return with_bias(CUBLASLT_EPILOGUE_GELU, args.bias);
  if (n % 8 != 0 || reinterpret_cast<std::uintptr_t>(aux.raw()) % 16 != 0) return CUBLASLT_EPILOGUE_DEFAULT;
  return args.gradient_at.empty() ? with_bias(CUBLASLT_EPILOGUE_GELU_AUX, args.bias) : CUBLASLT_EPILOGUE_DGELU;
}

}  // namespace

void CudaBackend::matmul(const MatmulArgs& args) {
  const auto [m, n, k] = sizes_of(args);
  if (m * n == 0) return;
  cuda::LtProduct product = {.m = m,
                             .n = n,
                             .k = k,
                             .transpose_a = args.transpose_a,
                             .transpose_b = args.transpose_b,
                             .accumulate = args.accumulate,
                             .input = args.a.dtype(),
                             .output = args.out.dtype(),
                             .tf32 = state_->options.tf32};
  const auto multiply = [&](cublasLtEpilogue_t epilogue, Tensor out, Tensor bias = {}, Tensor aux = {}) {
    product.epilogue = epilogue;
    product.output = out.dtype();
    return state_->cublaslt.multiply(product,
                                     {.a = args.a.raw(),
                                      .b = args.b.raw(),
                                      .out = out.raw(),
                                      .bias = bias.empty() ? nullptr : bias.raw(),
                                      .aux = aux.empty() ? nullptr : aux.raw()},
                                     pool(), state_->compute.get());
  };
  if (!args.bias_gradient.empty()) {
    Tensor sums = allocate({m}, DType::f32);
    const bool is_plain = args.bias.empty() && args.activation == Activation::none && args.pre_activation.empty();
    if (is_plain && args.out.dtype() == DType::f32 && multiply(CUBLASLT_EPILOGUE_BGRADB, args.out, sums))
      return add(args.bias_gradient, sums, args.bias_gradient);
    add_column_sums(args.a, args.bias_gradient);
  }
  const cublasLtEpilogue_t gelu = gelu_epilogue(args, n);
  const Tensor& aux = args.gradient_at.empty() ? args.pre_activation : args.gradient_at;
  if (gelu != CUBLASLT_EPILOGUE_DEFAULT && multiply(gelu, args.out, args.bias, aux)) return;

  Tensor result = args.pre_activation.empty() ? args.out : args.pre_activation;
  const bool is_biased =
      !args.bias.empty() && args.bias.dtype() == result.dtype() && multiply(CUBLASLT_EPILOGUE_BIAS, result, args.bias);
  if (!is_biased && !multiply(CUBLASLT_EPILOGUE_DEFAULT, result))
    fail("cuBLASLt has no kernel for a product of {} with m = {}, n = {}, k = {}", name_of(product.input), m, n, k);
  if (!args.bias.empty() && !is_biased) cuda::add_bias(args.bias, result, state_->compute.get());

  if (!args.gradient_at.empty()) {
    if (args.activation != Activation::none) activate_backward(args.activation, args.gradient_at, args.out, args.out);
  } else if (args.activation != Activation::none) {
    activate(args.activation, result, args.out);
  } else if (!args.pre_activation.empty()) {
    cast(result, args.out);
  }
}

}  // namespace trireme
