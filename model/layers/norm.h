// Layer normalisation (Ba et al. 2016) and RMS normalisation (Zhang and Sennrich 2019) over the last axis.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

class Norm final : public Layer {
 public:
  /// Parameters NAME.weight [size] and, for layer norm with bias, NAME.bias [size].
  Norm(const Build& build, const std::string& name, std::int64_t size, NormKind kind, bool bias);

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    return forward_add(context, x, Tensor(), nullptr, saved);
  }
  /// norm(x + residual); `sum` receives x + residual.
  Tensor forward_add(const Context& context, const Tensor& x, const Tensor& residual, Tensor* sum, Saved& saved) const;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    return backward_input_add(context, dy, Tensor(), saved);
  }
  /// Gradient of the norm's input plus `residual_gradient`.
  Tensor backward_input_add(const Context& context, const Tensor& dy, const Tensor& residual_gradient,
                            Saved& saved) const;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  NormKind kind_;
  Parameter* weight_;
  Parameter* bias_ = nullptr;
};

}  // namespace trireme
