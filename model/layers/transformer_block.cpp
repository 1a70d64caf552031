#include "model/layers/transformer_block.h"

namespace trireme {
namespace {

enum : std::size_t { attention_norm_child, attention_child, feed_forward_norm_child, feed_forward_child };

}  // namespace

TransformerBlock::TransformerBlock(const Build& build, const std::string& name, const TransformerBlockOptions& options)
    : attention_norm_(build, name + ".attention_norm", options.attention.hidden, options.norm, options.norm_bias),
      attention_(build, name + ".attention", options.attention),
      attention_dropout_(name + ".attention.dropout", options.dropout),
      feed_forward_norm_(build, name + ".feed_forward_norm", options.attention.hidden, options.norm, options.norm_bias),
      feed_forward_(build, name + ".feed_forward", options.feed_forward),
      feed_forward_dropout_(name + ".feed_forward.dropout", options.dropout) {}

Tensor TransformerBlock::forward(const Context& context, const Tensor& x, Saved& saved) const {
  Tensor branch = attention_norm_.forward(context, x, saved.child(attention_norm_child));
  branch = attention_.forward(context, branch, saved.child(attention_child));
  branch = attention_dropout_(context, branch);
  Tensor middle;  // x after the attention half
  branch = feed_forward_norm_.forward_add(context, branch, x, &middle, saved.child(feed_forward_norm_child));
  branch = feed_forward_.forward(context, branch, saved.child(feed_forward_child));
  return feed_forward_dropout_(context, branch, middle);
}

Tensor TransformerBlock::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  Tensor branch = feed_forward_dropout_(context, dy);
  branch = feed_forward_.backward_input(context, branch, saved.child(feed_forward_child));
  const Tensor dmiddle =
      feed_forward_norm_.backward_input_add(context, branch, dy, saved.child(feed_forward_norm_child));
  branch = attention_dropout_(context, dmiddle);
  branch = attention_.backward_input(context, branch, saved.child(attention_child));
  return attention_norm_.backward_input_add(context, branch, dmiddle, saved.child(attention_norm_child));
}

void TransformerBlock::backward_weight(const Context& context, Saved& saved) const {
  feed_forward_.backward_weight(context, saved.child(feed_forward_child));
  feed_forward_norm_.backward_weight(context, saved.child(feed_forward_norm_child));
  attention_.backward_weight(context, saved.child(attention_child));
  attention_norm_.backward_weight(context, saved.child(attention_norm_child));
}

}  // namespace trireme
