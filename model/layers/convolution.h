// Convolution over channels-last images.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

struct ConvolutionOptions {
  std::int64_t channels = 0;
  std::int64_t outputs = 0;
  int rows = 1, columns = 1;  ///< of the filter
  ConvolutionShape shape;     ///< groups = channels = outputs: depthwise
  bool bias = false;
  double deviation = 0;        ///< of initial values; 0: sqrt(2 / (rows * columns * outputs / groups)) (He et al. 2015)
  bool input_gradient = true;  ///< false: x is data, and backward_input returns an empty tensor
};

/// f [batch, height, width, channels] -> f [batch, out height, out width, outputs]. Parameters NAME.weight [outputs,
/// rows, columns, channels / groups] and NAME.bias [outputs]. Every rank of the tensor axis does the same.
class Convolution final : public Layer {
 public:
  Convolution(const Build& build, const std::string& name, const ConvolutionOptions& options);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  ConvolutionShape shape_;
  bool input_gradient_;
  Parameter* weight_;
  Parameter* bias_ = nullptr;
};

}  // namespace trireme
