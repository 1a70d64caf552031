// What the backend asks of cuDNN beyond results: tests/kernels/ has those.
#include "tests/kernels/kernel_test.h"

namespace trireme {
namespace {

Tensor random_bf16(Backend& backend, const Shape& shape, std::uint64_t seed) {
  return from_double(backend, shape, DType::bf16, random_values(shape.elements(), seed));
}

/// dqkv of two heads of 64 that share keys.
Values attention_gradient(Backend& backend) {
  AttentionBackwardArgs args;
  args.forward.heads = 2;
  args.forward.head_size = 64;
  args.forward.scale = 0.125F;
  args.forward.qkv = random_bf16(backend, {2, 40, 256}, 1);
  args.forward.out = backend.allocate({2, 40, 128}, DType::bf16);
  args.forward.log_sum_exp = backend.allocate({2, 2, 40}, DType::f32);
  args.dout = random_bf16(backend, {2, 40, 128}, 2);
  args.dqkv = backend.allocate({2, 40, 256}, DType::bf16);
  backend.attention(args.forward);
  backend.attention_backward(args);
  return to_double(backend, args.dqkv);
}

TEST(CudaCudnn, GradientOfAttentionMayBeSummedInAnyOrder) {
  const Values fixed = attention_gradient(*make_cuda_backend(0));
  const Values any = attention_gradient(*make_cuda_backend(0, {.deterministic = false}));
  expect_values_close(any, fixed, 1e-2);
}

TEST(CudaCudnn, ConvolutionsTakeTensorsFromAnyAddress) {
  const auto backend = make_cuda_backend(0);
  const Shape images = {1, 4, 5, 8};
  const Shape filters = {8, 3, 3, 8};
  const ConvolutionShape shape = {.pad_height = 1, .pad_width = 1};
  const auto odd = [&](const Shape& of, std::uint64_t seed) {
    return random_bf16(*backend, {of.elements() + 3}, seed).view(3, of);
  };
  const auto even = [&](const Tensor& tensor) {
    return from_double(*backend, tensor.shape(), tensor.dtype(), to_double(*backend, tensor));
  };
  const Tensor x = odd(images, 1);
  const Tensor filter = odd(filters, 2);
  const Tensor bias = odd({8}, 3);
  const Tensor dy = odd(images, 4);
  const auto run = [&](const Tensor& y, const Tensor& dx, const Tensor& dfilter, const auto& place) {
    backend->zero(dfilter);
    backend->convolution({shape, place(x), place(filter), place(bias), y});
    backend->convolution_backward_data({shape, place(dy), place(filter), dx});
    backend->convolution_backward_filter({shape, place(x), place(dy), dfilter});
    return std::array{to_double(*backend, y), to_double(*backend, dx), to_double(*backend, dfilter)};
  };
  const Tensor gradient = backend->allocate({filters.elements() + 1}, DType::f32);
  const auto at_odd =
      run(odd(images, 5), odd(images, 6), gradient.view(1, filters), [](const Tensor& tensor) { return tensor; });
  const auto at_even = run(backend->allocate(images, DType::bf16), backend->allocate(images, DType::bf16),
                           backend->allocate(filters, DType::f32), even);
  EXPECT_EQ(at_odd[0], at_even[0]);
  EXPECT_EQ(at_odd[1], at_even[1]);
  expect_values_close(at_odd[2], at_even[2], 1e-6);
}

}  // namespace
}  // namespace trireme
