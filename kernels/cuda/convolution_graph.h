// Convolutions as graphs for cuDNN. Images and filters have their channels last in memory.
#pragma once

#include <compare>

#include "kernels/convolution_shape.h"
#include "kernels/cuda/cudnn_graph.h"

namespace trireme::cuda {

/// Everything that tells one plan from another.
struct ConvolutionProblem {
  CudnnGraph::Convolution kind = CudnnGraph::Convolution::forward;
  ConvolutionSizes sizes;
  DType type = DType::f32;  ///< of images and filters; a filter's gradient is f32
  bool full_f32 = false;    ///< f32 operands keep all their digits
  /// What is computed is added to something: a bias in the forward pass, what the filter's gradient held before.
  bool add = false;
  // NOLINTNEXTLINE(modernize-use-nullptr): takes <=> for a pointer
  auto operator<=>(const ConvolutionProblem&) const = default;
};

/// Tensors of the graph.
enum ConvolutionTensor : CudnnGraph::Id {
  convolution_image = 1,
  convolution_filter,
  convolution_result,
  convolution_addend,
};

CudnnGraph convolution_graph(const ConvolutionProblem& problem);

}  // namespace trireme::cuda
