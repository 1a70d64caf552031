// Pooling over channels-last images.
#pragma once

#include "model/layer.h"

namespace trireme {

struct PoolingOptions {
  PoolingKind kind = PoolingKind::maximum;
  int height = 2, width = 2;  ///< of the window; 0: all of the image
  int stride_height = 2, stride_width = 2;
  int pad_height = 0, pad_width = 0;
};

/// f [batch, height, width, channels] -> f [batch, out height, out width, channels].
class Pooling final : public Layer {
 public:
  explicit Pooling(const PoolingOptions& options) : options_(options) {}
  /// The mean of each channel: out height and width are 1.
  static Pooling global_average() { return Pooling({.kind = PoolingKind::average, .height = 0, .width = 0}); }
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context&, Saved&) const override {}

 private:
  PoolingArgs describe(const Tensor& x) const;
  PoolingOptions options_;
};

}  // namespace trireme
