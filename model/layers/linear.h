// y = x W^T + b, with W split between the ranks of the tensor axis.
#pragma once

#include <string>
#include <vector>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

/// Which side of the matrix is split (Shoeybi et al. 2019). column: by outputs, y stays split, dx is summed over the
/// ranks. row: by inputs, x comes split, y is summed over the ranks. none: every rank has and does all of it, for what
/// is small.
enum class Split { column, row, none };

/// One matrix, or several that read the same input ("query", "key", "value").
class Linear final : public Layer {
 public:
  struct Output {
    std::string name;    ///< parameters are NAME.weight [outputs, inputs] and NAME.bias [outputs]
    std::int64_t width;  ///< outputs over all ranks
  };
  Linear(const Build& build, const std::vector<Output>& outputs, std::int64_t inputs, Split split, bool bias,
         double deviation);

  /// [..., inputs here] -> [..., sum of outputs here].
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    return forward(context, x, saved, Activation::none, nullptr);
  }
  /// y = activation(x W^T + b); `pre_activation` receives what backward_input_through wants.
  Tensor forward(const Context& context, const Tensor& x, Saved& saved, Activation activation,
                 Tensor* pre_activation) const;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    return backward_input_through(context, dy, saved, Activation::none, Tensor());
  }
  /// As backward_input, times activation'(gradient_at): gradient before the activation that made x.
  Tensor backward_input_through(const Context& context, const Tensor& dy, Saved& saved, Activation activation,
                                const Tensor& gradient_at) const;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  Split split_;
  bool adds_bias_;  ///< a row split adds its bias on the first rank only: the sum over ranks then holds it once
  Parameter* weight_;
  Parameter* bias_ = nullptr;
};

}  // namespace trireme
