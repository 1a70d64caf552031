#include <algorithm>
#include <cstdio>

#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/state.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using cuda::AttentionSizes;

/// What cuDNN's fused engines are made for; head sizes beyond 128 need a recent GPU.
bool is_for_cudnn(const AttentionSizes& sizes, std::initializer_list<const Tensor*> tensors) {
  return (*tensors.begin())->dtype() == DType::bf16 && sizes.size % 8 == 0 && sizes.size <= 256 && sizes.time > 1 &&
         std::all_of(tensors.begin(), tensors.end(),
                     [](const Tensor* tensor) { return tensor->empty() || cuda::is_aligned_for_cudnn(*tensor); });
}

const void* address_of(const Tensor& tensor) { return tensor.empty() ? nullptr : tensor.raw(); }

void warn_once(const std::string& refusal) {
  static bool warned = false;
  if (!std::exchange(warned, true))
    std::fprintf(stderr, "trireme: warning: attention is slower than it could be, without cuDNN: %s\n",
                 refusal.c_str());
}

void check_types(const AttentionArgs& args) {
  if (args.out.dtype() != args.qkv.dtype() || args.log_sum_exp.dtype() != DType::f32)
    fail("attention: qkv {}, out {}, log_sum_exp {}", name_of(args.qkv.dtype()), name_of(args.out.dtype()),
         name_of(args.log_sum_exp.dtype()));
}

/// Queries, keys and values begin one after the other within the rows.
struct Heads {
  Heads(const Tensor& packed, const AttentionSizes& sizes)
      : query(static_cast<const std::byte*>(packed.raw())),
        key(query + sizes.heads * sizes.size * static_cast<std::int64_t>(sizeof(bfloat16))),
        value(key + sizes.key_value_heads * sizes.size * static_cast<std::int64_t>(sizeof(bfloat16))) {}
  const std::byte *query, *key, *value;
};

}  // namespace

void CudaBackend::attention(const AttentionArgs& args) {
  const auto sizes = AttentionSizes::of(args);
  check_types(args);
  if (args.qkv.elements() == 0) return;
  const cudaStream_t stream = state_->compute.get();
  if (!is_for_cudnn(sizes, {&args.qkv, &args.out, &args.log_sum_exp, &args.lengths}))
    return cuda::plain_attention(args, stream);
  const auto& planned = state_->cudnn.attention(sizes, stream);
  if (!planned.plan) {
    warn_once(planned.refusal);
    return cuda::plain_attention(args, stream);
  }
  const Heads heads(args.qkv, sizes);
  state_->cudnn.execute(*planned.plan,
                        {{cuda::attention_query, heads.query},
                         {cuda::attention_key, heads.key},
                         {cuda::attention_value, heads.value},
                         {cuda::attention_out, args.out.raw()},
                         {cuda::attention_log_sum_exp, args.log_sum_exp.raw()},
                         {cuda::attention_lengths, address_of(args.lengths)}},
                        pool());
  // cuDNN promises nothing of what it leaves out.
  if (sizes.lengths) cuda::clear_past(args.lengths, sizes.heads * sizes.size, args.out, stream);
}

void CudaBackend::attention_backward(const AttentionBackwardArgs& args) {
  const AttentionArgs& forward = args.forward;
  const auto sizes = AttentionSizes::of(forward);
  check_types(forward);
  if (args.dout.elements() != forward.out.elements() || args.dqkv.elements() != forward.qkv.elements() ||
      args.dout.dtype() != forward.out.dtype() || args.dqkv.dtype() != forward.qkv.dtype())
    fail("attention: dout {} or dqkv {} is not like out {} and qkv {}", args.dout.shape().to_string(),
         args.dqkv.shape().to_string(), forward.out.shape().to_string(), forward.qkv.shape().to_string());
  if (forward.qkv.elements() == 0) return;
  const cudaStream_t stream = state_->compute.get();
  if (!is_for_cudnn(sizes,
                    {&forward.qkv, &forward.out, &forward.log_sum_exp, &args.dout, &args.dqkv, &forward.lengths}))
    return cuda::plain_attention_backward(args, *this, stream);
  const auto& planned = state_->cudnn.attention_backward(sizes, state_->options.deterministic, stream);
  if (!planned.plan) {
    warn_once(planned.refusal);
    return cuda::plain_attention_backward(args, *this, stream);
  }
  const Tensor dots = allocate({sizes.batch, sizes.heads, sizes.time}, DType::f32);
  Tensor dquery_sum;
  if (!state_->options.deterministic)
    dquery_sum = allocate({sizes.batch, sizes.heads, sizes.time, sizes.size}, DType::f32);
  const Heads heads(forward.qkv, sizes);
  const Heads gradients(args.dqkv, sizes);
  state_->cudnn.execute(*planned.plan,
                        {{cuda::attention_query, heads.query},
                         {cuda::attention_key, heads.key},
                         {cuda::attention_value, heads.value},
                         {cuda::attention_out, forward.out.raw()},
                         {cuda::attention_log_sum_exp, forward.log_sum_exp.raw()},
                         {cuda::attention_dout, args.dout.raw()},
                         {cuda::attention_dquery, gradients.query},
                         {cuda::attention_dkey, gradients.key},
                         {cuda::attention_dvalue, gradients.value},
                         {cuda::attention_dots, dots.raw()},
                         {cuda::attention_dquery_sum, address_of(dquery_sum)},
                         {cuda::attention_lengths, address_of(forward.lengths)}},
                        pool());
  if (sizes.lengths) cuda::clear_past(forward.lengths, sizes.packed_row(), args.dqkv, stream);
}

}  // namespace trireme
