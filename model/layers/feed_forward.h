// The two (or, gated, three) matrices of a transformer block's feed-forward part.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/linear.h"

namespace trireme {

struct FeedForwardOptions {
  std::int64_t hidden = 0;
  std::int64_t inner = 0;  ///< over all ranks of the tensor axis
  bool gated = false;      ///< SwiGLU (Shazeer 2020) instead of GELU
  bool bias = true;
  double deviation = 0.02;
  double projection_deviation = 0.02;
};

/// [batch, time, hidden] -> the same. Each rank of the tensor axis has its share of the inner units.
class FeedForward final : public Layer {
 public:
  FeedForward(const Build& build, const std::string& name, const FeedForwardOptions& options);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  bool gated_;
  Linear input_, output_;
};

}  // namespace trireme
