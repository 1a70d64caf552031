// Convolutions: oneDNN does the work.
#include <omp.h>

#include "kernels/convolution_shape.h"
#include "kernels/cpu/state.h"

namespace trireme {
namespace {

/// The same in f32, for processors on which oneDNN has no vector code for bf16.
void run_widened(Backend& backend, OneDnnConvolution& onednn, ConvolutionStep step, const ConvolutionSizes& sizes,
                 const ConvolutionTensors& tensors) {
  const auto widened = [&](const Tensor& tensor) {
    if (tensor.empty() || tensor.dtype() == DType::f32) return tensor;
    Tensor wide = backend.allocate(tensor.shape(), DType::f32);
    backend.cast(tensor, wide);
    return wide;
  };
  const ConvolutionTensors wide = {widened(tensors.x), widened(tensors.filter), widened(tensors.bias),
                                   widened(tensors.y)};
  onednn.run(step, sizes, wide, backend.pool());
  if (step == ConvolutionStep::forward) backend.cast(wide.y, tensors.y);
  if (step == ConvolutionStep::data) backend.cast(wide.x, tensors.x);
}

template <typename State>
void run(Backend& backend, State& state, ConvolutionStep step, const ConvolutionSizes& sizes,
         const ConvolutionTensors& tensors) {
  if (sizes.batch == 0) return;
  omp_set_num_threads(state.threads);  // what oneDNN goes by; the setting belongs to the calling thread
  if (tensors.x.dtype() == DType::bf16 && !state.onednn.multiplies_bf16())
    run_widened(backend, state.onednn_convolution, step, sizes, tensors);
  else
    state.onednn_convolution.run(step, sizes, tensors, backend.pool());
}

}  // namespace

void CpuBackend::convolution(const ConvolutionArgs& args) {
  run(*this, *state_, ConvolutionStep::forward, sizes_of(args), {args.x, args.filter, args.bias, args.y});
}

void CpuBackend::convolution_backward_data(const ConvolutionBackwardDataArgs& args) {
  run(*this, *state_, ConvolutionStep::data, sizes_of(args), {args.dx, args.filter, Tensor(), args.dy});
}

void CpuBackend::convolution_backward_filter(const ConvolutionBackwardFilterArgs& args) {
  run(*this, *state_, ConvolutionStep::filter, sizes_of(args), {args.x, args.dfilter, Tensor(), args.dy});
}

}  // namespace trireme
