// Long short-term memory in both directions, as a layer.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"

namespace trireme {

/// [batch, time, inputs] -> [batch, time, 2 * hidden]: what each direction knows, side by side. Whole on every rank of
/// the tensor axis. Parameters NAME.weight [2, 4 * hidden, inputs], NAME.recurrent_weight [2, 4 * hidden, hidden] and
/// NAME.bias [2, 4 * hidden], in the order of gates of LstmArgs.
class Lstm final : public Layer {
 public:
  Lstm(const Build& build, const std::string& name, std::int64_t inputs, std::int64_t hidden);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  static constexpr std::int64_t directions = 2;
  LstmArgs describe(const Context& context, const Tensor& x) const;
  LstmArgs recall(Saved& saved) const;

  std::int64_t inputs_, hidden_;
  Parameter* weight_;
  Parameter* recurrent_weight_;
  Parameter* bias_;
};

}  // namespace trireme
