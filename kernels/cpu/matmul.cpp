// Matrix products. On Zen 4 and GPT-2's shapes oneDNN's sgemm is the fastest of its f32 products (98 to 100 % of the
// peak), but only the matmul primitive adds a bias on the way; bf16 always takes the primitive.
#include <omp.h>

#include <array>

#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"
#include "kernels/matmul_shape.h"

namespace trireme {
namespace {

/// Whether oneDNN applies the activation: not where the values before it are wanted too, nor in the backward pass, nor
/// a ReLU, as oneDNN's makes 0 of what is not a number, and a diverged value must be seen.
bool is_fused(const MatmulArgs& args) {
  return args.pre_activation.empty() && args.gradient_at.empty() && args.activation != Activation::relu;
}

Product product_of(const MatmulArgs& args) {
  const MatmulSizes sizes = sizes_of(args);
  return {.m = sizes.m,
          .n = sizes.n,
          .k = sizes.k,
          .transpose_a = args.transpose_a,
          .transpose_b = args.transpose_b,
          .accumulate = args.accumulate,
          .bias = !args.bias.empty(),
          .input = args.a.dtype(),
          .output = args.pre_activation.empty() ? args.out.dtype() : args.pre_activation.dtype(),
          .activation = is_fused(args) ? args.activation : Activation::none};
}

/// The same product in f32, for processors on which oneDNN has no vector code for bf16.
void multiply_widened(Backend& backend, const MatmulArgs& args, const Tensor& result) {
  const auto widened = [&](const Tensor& tensor) {
    if (tensor.empty() || tensor.dtype() == DType::f32) return tensor;
    Tensor wide = backend.allocate(tensor.shape(), DType::f32);
    backend.cast(tensor, wide);
    return wide;
  };
  MatmulArgs wide;
  wide.a = widened(args.a);
  wide.b = widened(args.b);
  wide.out = widened(result);
  wide.transpose_a = args.transpose_a;
  wide.transpose_b = args.transpose_b;
  wide.accumulate = args.accumulate;
  wide.bias = widened(args.bias);
  if (is_fused(args)) wide.activation = args.activation;
  backend.matmul(wide);
  if (result.dtype() != DType::f32) backend.cast(wide.out, result);
}

constexpr std::int64_t columns_a_block = 64;
constexpr std::int64_t rows_a_block = 64;  // sums of so many values meet in the total, which keeps rounding small

template <typename T>
void add_block(const T* x, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* sums) {
  std::array<float, columns_a_block> partial{};
  for (std::int64_t row = 0; row < rows; ++row) {
#pragma omp simd
    for (std::int64_t i = 0; i < columns; ++i) partial[static_cast<std::size_t>(i)] += load(x[row * stride + i]);
  }
  for (std::int64_t i = 0; i < columns; ++i) sums[i] += partial[static_cast<std::size_t>(i)];
}

}  // namespace

void CpuBackend::matmul(const MatmulArgs& args) {
  const Product product = product_of(args);
  Tensor result = args.pre_activation.empty() ? args.out : args.pre_activation;
  omp_set_num_threads(state_->threads);  // what oneDNN goes by; the setting belongs to the calling thread
  if (product.m * product.n == 0) return;
  if (product.input == DType::f32 && !product.bias && product.activation == Activation::none)
    OneDnn::multiply_f32(product, args.a.data<float>(), args.b.data<float>(), result.data<float>());
  else if (product.input == DType::bf16 && !state_->onednn.multiplies_bf16())
    multiply_widened(*this, args, result);
  else
    state_->onednn.multiply(product, args.a.raw(), args.b.raw(), args.bias.empty() ? nullptr : args.bias.raw(),
                            result.raw(), pool());
  if (!args.gradient_at.empty())
    activate_backward(args.activation, args.gradient_at, args.out, args.out);
  else if (!is_fused(args))
    activate(args.activation, result, args.out);
  if (!args.bias_gradient.empty()) add_column_sums(args.a, args.bias_gradient);
}

void CpuBackend::add_column_sums(const Tensor& x, Tensor out) {
  const std::int64_t rows = x.shape().rows();
  const std::int64_t n = x.shape().columns();
  expect_elements("add_column_sums out", out, n);
  float* sums = out.data<float>();
  for_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* values = x.data<T>();
    for_blocks(state_->threads, n, columns_a_block, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = 0; row < rows; row += rows_a_block)
        add_block(values + row * n + begin, n, std::min(rows_a_block, rows - row), end - begin, sums + begin);
    });
  });
}

}  // namespace trireme
