// Convolution, batch normalisation, activation: what networks for images are made of.
#pragma once

#include <string>

#include "model/layers/batch_norm.h"
#include "model/layers/convolution.h"

namespace trireme {

struct ConvolutionUnitOptions {
  ConvolutionOptions convolution;
  Activation activation = Activation::relu;
  bool synchronised = false;  ///< statistics over the data axis
  bool zero_scale = false;    ///< as of BatchNormOptions
};

/// y = activation(norm(convolution(x)) [+ residual]). Parameters NAME.* of the convolution and NAME.norm.*.
class ConvolutionUnit final : public Layer {
 public:
  ConvolutionUnit(const Build& build, const std::string& name, const ConvolutionUnitOptions& options);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    return forward_add(context, x, Tensor(), saved);
  }
  Tensor forward_add(const Context& context, const Tensor& x, const Tensor& residual, Saved& saved) const;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    return backward_input_add(context, dy, nullptr, saved);
  }
  /// residual_gradient, where not null, receives the gradient of the residual.
  Tensor backward_input_add(const Context& context, const Tensor& dy, Tensor* residual_gradient, Saved& saved) const;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  bool in_norm() const { return activation_ == Activation::none || activation_ == Activation::relu; }

  Activation activation_;
  Convolution convolution_;
  BatchNorm norm_;
};

}  // namespace trireme
