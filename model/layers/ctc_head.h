// Output matrix over the characters, and connectionist temporal classification.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

/// [batch, time, hidden] -> f64 [3, 2], sums and counts of
/// - the texts' losses in nats, with labels in field 1 of the microbatch (as in CtcLossArgs) and their time steps in
///   field 2;
/// - where nothing is trained, wrong characters by greedy decoding (edit distance) and characters,
/// - and texts read without a fault, and texts. In training these two stay 0: reading takes the host.
/// Without labels, the logits [batch, time, classes].
/// Whole on every rank of the tensor axis. Parameters NAME.weight [classes, hidden] and NAME.bias [classes].
class CtcHead final : public Layer {
 public:
  CtcHead(const Build& build, const std::string& name, std::int64_t hidden, std::int64_t classes);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  /// dy is not read: the loss is the end of the chain.
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  Tensor loss(const Context& context, const Tensor& logits, Saved& saved) const;

  std::int64_t classes_;
  Parameter* weight_;
  Parameter* bias_;
};

}  // namespace trireme
