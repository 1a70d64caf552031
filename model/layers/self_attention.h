// Multi-head self-attention: projection to queries, keys and values, attention, projection back.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/linear.h"

namespace trireme {

struct SelfAttentionOptions {
  std::int64_t hidden = 0;
  int heads = 1;            ///< over all ranks of the tensor axis
  int key_value_heads = 1;  ///< fewer than heads: grouped-query attention (Ainslie et al. 2023)
  bool causal = true;
  bool rotary = false;
  bool bias = true;
  std::size_t lengths_field = 0;       ///< of the microbatch: how much of each sample there is; 0: all
  double deviation = 0.02;             ///< of the input projections
  double projection_deviation = 0.02;  ///< of the output projection
};

/// [batch, time, hidden] -> the same. Each rank of the tensor axis has its share of the heads.
class SelfAttention final : public Layer {
 public:
  SelfAttention(const Build& build, const std::string& name, const SelfAttentionOptions& options);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  AttentionArgs describe(const Context& context) const;
  RotaryArgs describe_rotary(const Tensor& qkv, bool inverse) const;

  int heads_, key_value_heads_, head_size_;  ///< heads of this rank
  bool causal_, rotary_;
  std::size_t lengths_field_;
  Linear input_, output_;
};

}  // namespace trireme
