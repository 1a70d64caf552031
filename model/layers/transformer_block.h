// A block of a transformer with its norms in front, as of GPT-2 and LLaMA, and of recognisers of lines.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/dropout.h"
#include "model/layers/feed_forward.h"
#include "model/layers/norm.h"
#include "model/layers/self_attention.h"

namespace trireme {

struct TransformerBlockOptions {
  NormKind norm = NormKind::layer;
  bool norm_bias = true;
  SelfAttentionOptions attention;
  FeedForwardOptions feed_forward;
  double dropout = 0.0;  ///< of both branches
};

/// x = x + dropout(attention(norm(x))); x = x + dropout(feed_forward(norm(x))). [batch, time, hidden] -> the same.
class TransformerBlock final : public Layer {
 public:
  TransformerBlock(const Build& build, const std::string& name, const TransformerBlockOptions& options);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  Norm attention_norm_;
  SelfAttention attention_;
  Dropout attention_dropout_;
  Norm feed_forward_norm_;
  FeedForward feed_forward_;
  Dropout feed_forward_dropout_;
};

}  // namespace trireme
