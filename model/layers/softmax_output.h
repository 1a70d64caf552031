// The end of a classifier: a matrix over the classes, the loss, and how often the likeliest class is the right one.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

struct SoftmaxOutputOptions {
  std::int64_t classes = 0;
  std::int64_t hidden = 0;
  std::string weight, bias;  ///< names of the parameters [classes, hidden] and [classes]
  bool split = false;        ///< classes are parted between the ranks of the tensor axis
  bool first_copy = true;    ///< false where another stage holds the tied weight too, and writes it
  double deviation = 0.02;
};

/// Not a Layer: its owner gives it targets and a scale.
class SoftmaxOutput {
 public:
  SoftmaxOutput(const Build& build, const SoftmaxOutputOptions& options);

  /// x [..., hidden] -> [..., classes here].
  Tensor logits(const Context& context, const Tensor& x, Saved& saved) const;
  /// Adds the sum of the rows' cross-entropies and their number to `loss` f64 [2], and to `hits` f64 [groups, 2] how
  /// often the target had the largest logit, and how many rows there were, by `groups` as of HitsArgs. Rows with a
  /// target of -1 do not count.
  void measure(const Context& context, const Tensor& logits, const Tensor& targets, const Tensor& groups,
               const Tensor& loss, const Tensor& hits, Saved& saved) const;
  /// Gradient of the inputs of the mean loss times `scale` a row; that over the logits takes their place.
  Tensor backward_input(const Context& context, const Tensor& targets, float scale, Saved& saved) const;
  void backward_weight(const Context& context, Saved& saved) const;

 private:
  bool split_;
  std::int64_t first_class_;
  Parameter *weight_, *bias_;
};

}  // namespace trireme
