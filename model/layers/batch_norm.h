// Batch normalisation (Ioffe and Szegedy 2015), with the residual addition and the ReLU that follow it.
//
// What the batch is: the samples of one microbatch (train.micro_batch), so that layouts with equal microbatches agree
// whatever the number of data-parallel ranks. Synchronised: those of the microbatches that the data-parallel ranks work
// on at the same time, micro_batch times ranks; layouts of one microbatch a step then agree.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

struct BatchNormOptions {
  std::int64_t channels = 0;
  bool synchronised = false;
  bool relu = false;
  bool zero_scale = false;  ///< weights begin as 0: a residual block begins as the identity (Goyal et al. 2017)
  double momentum = 0.1;    ///< share of the step's statistics in the running ones
  float epsilon = 1e-5F;
};

/// f [..., channels] -> the same. Parameters NAME.weight and NAME.bias [channels]; tracked NAME.running_mean and
/// NAME.running_variance, which take the place of a batch's own statistics outside training, and move once a step by
/// the mean over its microbatches.
class BatchNorm final : public Layer {
 public:
  BatchNorm(const Build& build, const std::string& name, const BatchNormOptions& options);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    return forward_add(context, x, Tensor(), saved);
  }
  /// y = relu(norm(x) + residual); residual may be empty.
  Tensor forward_add(const Context& context, const Tensor& x, const Tensor& residual, Saved& saved) const;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    return backward_input_add(context, dy, nullptr, saved);
  }
  /// residual_gradient, where not null, receives the gradient of the residual.
  Tensor backward_input_add(const Context& context, const Tensor& dy, Tensor* residual_gradient, Saved& saved) const;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  void find_moments(const Context& context, BatchNormArgs& args) const;
  BatchNormArgs describe(const Tensor& x) const;

  BatchNormOptions options_;
  Parameter *weight_, *bias_, *running_mean_, *running_variance_;
};

}  // namespace trireme
