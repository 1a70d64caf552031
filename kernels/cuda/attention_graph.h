// Flash attention (Dao et al. 2022) as graphs that cuDNN recognises: the chains of products, softmax and mask that its
// fused engines are written for, over a packed qkv. Nothing of time x time reaches memory.
#pragma once

#include <compare>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/cudnn_graph.h"

namespace trireme::cuda {

/// Everything that tells one attention from another.
struct AttentionSizes {
  /// Fails where the tensors do not fit together.
  static AttentionSizes of(const AttentionArgs& args);

  std::int64_t batch = 0, time = 0, heads = 0, key_value_heads = 0, size = 0;
  bool causal = false;
  bool lengths = false;  ///< sequences have lengths of their own
  float scale = 1.0F;
  auto operator<=>(const AttentionSizes&) const = default;  // NOLINT(modernize-use-nullptr): takes <=> for a pointer

  std::int64_t packed_row() const { return (heads + 2 * key_value_heads) * size; }
};

/// Tensors of the graphs that are in memory.
enum AttentionTensor : CudnnGraph::Id {
  attention_query = 1,
  attention_key,
  attention_value,
  attention_out,
  attention_log_sum_exp,
  attention_dout,
  attention_dquery,
  attention_dkey,
  attention_dvalue,
  attention_lengths,     ///< i32 [batch]
  attention_dots,        ///< f32 [batch, heads, time] scratch: dout . out of each row
  attention_dquery_sum,  ///< f32 [batch, heads, time, size] scratch, where the order of sums is free
};

CudnnGraph attention_graph(const AttentionSizes& sizes);
/// deterministic: queries' gradients are summed in a fixed order. That needs batch * heads * time * time * 2 bytes of
/// workspace and takes longer.
CudnnGraph attention_backward_graph(const AttentionSizes& sizes, bool deterministic);

}  // namespace trireme::cuda
