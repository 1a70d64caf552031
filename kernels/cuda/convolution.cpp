#include "kernels/cuda/state.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using cuda::ConvolutionProblem;
using Kind = cuda::CudnnGraph::Convolution;

ConvolutionProblem problem_of(Kind kind, const ConvolutionSizes& sizes, DType type, bool tf32) {
  return {.kind = kind, .sizes = sizes, .type = type, .full_f32 = type == DType::f32 && !tf32, .add = false};
}

const cuda::CudnnPlan& plan_of(const cuda::Cudnn::Planned& planned) {
  if (!planned.plan) fail("convolution: {}", planned.refusal);
  return *planned.plan;
}

/// The tensor, or memory for it on a boundary that cuDNN can do with.
Tensor aligned(Backend& backend, const Tensor& tensor) {
  return tensor.empty() || cuda::is_aligned_for_cudnn(tensor) ? tensor
                                                              : backend.allocate(tensor.shape(), tensor.dtype());
}

/// The tensor, or an aligned copy.
Tensor aligned_input(Backend& backend, const Tensor& tensor) {
  Tensor input = aligned(backend, tensor);
  if (!tensor.empty() && input.raw() != tensor.raw()) backend.cast(tensor, input);
  return input;
}

/// Elements go to where they were meant to be written.
void deliver(Backend& backend, const Tensor& result, const Tensor& meant) {
  if (result.raw() != meant.raw()) backend.cast(result, meant);
}

}  // namespace

void CudaBackend::convolution(const ConvolutionArgs& args) {
  ConvolutionProblem problem = problem_of(Kind::forward, sizes_of(args), args.x.dtype(), state_->options.tf32);
  if (problem.sizes.batch == 0) return;
  problem.add = !args.bias.empty();
  const auto& planned = state_->cudnn.convolution(problem, state_->compute.get());
  const Tensor x = aligned_input(*this, args.x);
  const Tensor filter = aligned_input(*this, args.filter);
  const Tensor bias = aligned_input(*this, args.bias);
  const Tensor y = aligned(*this, args.y);
  state_->cudnn.execute(plan_of(planned),
                        {{cuda::convolution_image, x.raw()},
                         {cuda::convolution_filter, filter.raw()},
                         {cuda::convolution_result, y.raw()},
                         {cuda::convolution_addend, problem.add ? bias.raw() : nullptr}},
                        pool());
  deliver(*this, y, args.y);
}

void CudaBackend::convolution_backward_data(const ConvolutionBackwardDataArgs& args) {
  const ConvolutionProblem problem =
      problem_of(Kind::data_gradient, sizes_of(args), args.dy.dtype(), state_->options.tf32);
  if (problem.sizes.batch == 0) return;
  const auto& planned = state_->cudnn.convolution(problem, state_->compute.get());
  const Tensor dy = aligned_input(*this, args.dy);
  const Tensor filter = aligned_input(*this, args.filter);
  const Tensor dx = aligned(*this, args.dx);
  state_->cudnn.execute(plan_of(planned),
                        {{cuda::convolution_image, dx.raw()},
                         {cuda::convolution_filter, filter.raw()},
                         {cuda::convolution_result, dy.raw()}},
                        pool());
  deliver(*this, dx, args.dx);
}

/// cuDNN adds an f32 gradient of bf16 images to what is there only where channels and outputs are multiples of 8 in
/// one group. Elsewhere the images are widened: f32 engines know every shape, and tf32 holds bf16 exactly.
void CudaBackend::convolution_backward_filter(const ConvolutionBackwardFilterArgs& args) {
  ConvolutionProblem problem = problem_of(Kind::filter_gradient, sizes_of(args), args.x.dtype(), state_->options.tf32);
  if (problem.sizes.batch == 0) return;
  const cudaStream_t stream = state_->compute.get();
  Tensor x = args.x;
  Tensor dy = args.dy;
  Tensor gradient = args.dfilter;
  problem.add = problem.type == DType::bf16 && cuda::is_aligned_for_cudnn(gradient);
  const cuda::Cudnn::Planned* planned = problem.add ? &state_->cudnn.convolution(problem, stream) : nullptr;
  if (planned == nullptr || !planned->plan) {
    for (Tensor* image : {&x, &dy}) {
      if (image->dtype() == DType::f32) continue;
      Tensor wide = allocate(image->shape(), DType::f32);
      cast(*image, wide);
      *image = wide;
    }
    problem.type = DType::f32;
    problem.add = false;
    planned = &state_->cudnn.convolution(problem, stream);
    gradient = allocate(args.dfilter.shape(), DType::f32);
  }
  x = aligned_input(*this, x);
  dy = aligned_input(*this, dy);
  state_->cudnn.execute(plan_of(*planned),
                        {{cuda::convolution_image, x.raw()},
                         {cuda::convolution_filter, gradient.raw()},
                         {cuda::convolution_result, dy.raw()},
                         {cuda::convolution_addend, gradient.raw()}},
                        pool());
  if (!problem.add) add(args.dfilter, gradient, args.dfilter);
}

}  // namespace trireme
