// What convolutional networks are made of: convolution, batch normalisation, activation.
#pragma once

#include <functional>
#include <string>

#include "model/layer.h"
#include "model/layers/batch_norm.h"
#include "model/layers/convolution.h"
#include "model/pipeline/partition.h"

namespace trireme {

/// [batch, height, width, channels] -> [batch, height', width', outputs]. Parameters of NAME.convolution and NAME.norm.
class NormedConvolution final : public Layer {
 public:
  /// x may be data, f32 whatever the type of activations.
  NormedConvolution(const Build& build, const std::string& name, const ConvolutionOptions& options,
                    Activation activation);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  Convolution convolution_;
  BatchNorm norm_;
  Activation activation_;
};

/// Extents of what a convolution makes of an image, without the batch axis.
Shape convolved(const Shape& image, const ConvolutionOptions& options);
/// Cost of such a layer that makes an `output` without its batch axis, activations of `bytes` each.
BlockCost normed_convolution_cost(const ConvolutionOptions& options, const Shape& output, double bytes);

}  // namespace trireme
