// Convolutions by oneDNN, whose differences between versions 2 and 3 are hidden in onednn_convolution.cpp.
#pragma once

#include <memory>

#include "kernels/convolution_shape.h"

namespace trireme {

/// What is computed from the other two: y, the gradient of x, or the gradient of the filter.
enum class ConvolutionStep { forward, data, filter };

/// x, y (or their gradients) and bias are of one type. So is the filter, but its gradient is f32 and added to. bias
/// may be empty.
struct ConvolutionTensors {
  Tensor x, filter, bias, y;
};

class OneDnnConvolution {
 public:
  OneDnnConvolution();
  ~OneDnnConvolution();

  /// Runs on as many threads as OpenMP would start here. Primitives are made once for every step, sizes and type, and
  /// kept; their working memory comes from the pool.
  void run(ConvolutionStep step, const ConvolutionSizes& sizes, ConvolutionTensors tensors, MemoryPool& pool);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
