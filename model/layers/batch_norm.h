// Batch normalisation (Ioffe and Szegedy 2015) over all axes but the last.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

/// Statistics of the microbatch in training, running ones otherwise. Whole on every rank of the tensor axis. Parameters
/// NAME.weight, NAME.bias and, tracked, NAME.running_mean, NAME.running_variance, all [channels].
class BatchNorm final : public Layer {
 public:
  BatchNorm(const Build& build, const std::string& name, std::int64_t channels, bool relu);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  BatchNormArgs recall(Saved& saved) const;

  std::int64_t channels_;
  bool relu_;
  Parameter* weight_;
  Parameter* bias_;
  Parameter* mean_;
  Parameter* variance_;
};

}  // namespace trireme
