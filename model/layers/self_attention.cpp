#include "model/layers/self_attention.h"

#include <cmath>

namespace trireme {
namespace {

enum : std::size_t { saved_qkv, saved_out, saved_log_sum_exp };
enum : std::size_t { input_child, output_child };

std::vector<Linear::Output> input_widths(const std::string& name, const SelfAttentionOptions& options) {
  const std::int64_t head_size = options.hidden / options.heads;
  return {{name + ".query", options.heads * head_size},
          {name + ".key", options.key_value_heads * head_size},
          {name + ".value", options.key_value_heads * head_size}};
}

}  // namespace

SelfAttention::SelfAttention(const Build& build, const std::string& name, const SelfAttentionOptions& options)
    : heads_(options.heads / build.tensor_ranks),
      key_value_heads_(options.key_value_heads / build.tensor_ranks),
      head_size_(static_cast<int>(options.hidden / options.heads)),
      causal_(options.causal),
      rotary_(options.rotary),
      lengths_field_(options.lengths_field),
      input_(build, input_widths(name, options), options.hidden, Split::column, options.bias, options.deviation),
      output_(build, {{name + ".projection", options.hidden}}, options.hidden, Split::row, options.bias,
              options.projection_deviation) {}

AttentionArgs SelfAttention::describe(const Context& context) const {
  AttentionArgs args;
  args.heads = heads_;
  args.key_value_heads = key_value_heads_;
  args.head_size = head_size_;
  args.causal = causal_;
  args.scale = 1.0F / std::sqrt(static_cast<float>(head_size_));
  if (lengths_field_ > 0) args.lengths = context.microbatch.field(lengths_field_);
  return args;
}

RotaryArgs SelfAttention::describe_rotary(const Tensor& qkv, bool inverse) const {
  RotaryArgs args;
  args.heads = heads_;
  args.key_value_heads = key_value_heads_;
  args.head_size = head_size_;
  args.inverse = inverse;
  args.qkv = qkv;
  return args;
}

Tensor SelfAttention::forward(const Context& context, const Tensor& x, Saved& saved) const {
  const std::int64_t batch = x.shape()[0];
  const std::int64_t time = x.shape()[1];
  AttentionArgs args = describe(context);
  args.qkv = input_.forward(context, x, saved.child(input_child));
  if (rotary_) context.backend.rotary(describe_rotary(args.qkv, false));
  args.out = context.backend.allocate({batch, time, std::int64_t{heads_} * head_size_}, context.type);
  args.log_sum_exp = context.backend.allocate({batch, heads_, time}, DType::f32);
  context.backend.attention(args);
  if (context.training) {
    saved[saved_qkv] = args.qkv;
    saved[saved_out] = args.out;
    saved[saved_log_sum_exp] = args.log_sum_exp;
  }
  return output_.forward(context, args.out, saved.child(output_child));
}

Tensor SelfAttention::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  AttentionBackwardArgs args;
  args.forward = describe(context);
  args.forward.qkv = saved[saved_qkv];
  args.forward.out = saved[saved_out];
  args.forward.log_sum_exp = saved[saved_log_sum_exp];
  args.dout = output_.backward_input(context, dy, saved.child(output_child));
  args.dqkv = context.backend.allocate(args.forward.qkv.shape(), context.type);
  context.backend.attention_backward(args);
  if (rotary_) context.backend.rotary(describe_rotary(args.dqkv, true));
  saved[saved_qkv] = saved[saved_log_sum_exp] = Tensor();  // backward_weight needs only the inputs of the two matrices
  return input_.backward_input(context, args.dqkv, saved.child(input_child));
}

void SelfAttention::backward_weight(const Context& context, Saved& saved) const {
  input_.backward_weight(context, saved.child(input_child));
  output_.backward_weight(context, saved.child(output_child));
}

}  // namespace trireme
