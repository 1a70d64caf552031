// Convolution over images whose channels are the last axis.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

struct ConvolutionOptions {
  std::int64_t inputs = 1, outputs = 1;  ///< channels
  int rows = 3, columns = 3;             ///< of the filter
  ConvolutionShape shape;
  bool bias = false;
};

/// [batch, height, width, inputs] -> [batch, height', width', outputs]. Whole on every rank of the tensor axis.
/// Parameters NAME.weight [outputs, rows, columns, inputs / groups] and NAME.bias [outputs].
class Convolution final : public Layer {
 public:
  Convolution(const Build& build, const std::string& name, const ConvolutionOptions& options);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;
  /// In place of backward_input where x is data.
  void take_gradient(const Tensor& dy, Saved& saved) const;

 private:
  ConvolutionOptions options_;
  Parameter* filter_;
  Parameter* bias_ = nullptr;
};

/// Extents of what a convolution makes of an image, without the batch axis.
Shape convolved(const Shape& image, const ConvolutionOptions& options);

}  // namespace trireme
