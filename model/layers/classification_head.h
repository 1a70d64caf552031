// The end of a classifier: a linear layer over features, and its loss and hits.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

struct ClassificationHeadOptions {
  std::int64_t features = 0;
  std::int64_t classes = 0;
  float label_smoothing = 0.0F;  ///< in training only: an evaluation tells the plain cross-entropy
  double deviation = 0.01;
};

/// f [batch, features] -> f64 [3, 2], sums and counts of the cross-entropy with field 1 of the microbatch (i32 [batch],
/// -1: does not count), of hits, and of hits among the five likeliest; without that field the logits [batch, classes].
/// Parameters NAME.weight [classes, features] and NAME.bias [classes]; every rank of the tensor axis does the same. The
/// gradient over the logits takes the place of the logits.
class ClassificationHead final : public Layer {
 public:
  ClassificationHead(const Build& build, const std::string& name, const ClassificationHeadOptions& options);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  /// dy is not read: the loss is the end of the chain.
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  Tensor measure(const Context& context, const Tensor& logits, Saved& saved) const;
  LabelSmoothing smoothing(const Context& context) const {
    return {.amount = context.training ? options_.label_smoothing : 0.0F, .classes = options_.classes};
  }

  ClassificationHeadOptions options_;
  Parameter *weight_, *bias_;
};

}  // namespace trireme
