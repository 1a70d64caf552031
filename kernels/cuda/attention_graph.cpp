#include "kernels/cuda/attention_graph.h"

#include <limits>

#include "kernels/error.h"

namespace trireme::cuda {
namespace {

using Id = CudnnGraph::Id;

constexpr auto bf16 = CUDNN_DATA_BFLOAT16;

/// Builds both passes; shapes in the order of axes that cuDNN wants, [batch, heads, time, size].
class Builder {
 public:
  explicit Builder(const AttentionSizes& sizes)
      : s_(sizes),
        scores_({s_.batch, s_.heads, s_.time, s_.time}),
        queries_({s_.batch, s_.heads, s_.time, s_.size}),
        rows_({s_.batch, s_.heads, s_.time, 1}) {}

  CudnnGraph forward();
  CudnnGraph backward(bool deterministic);

 private:
  Id score() { return g_.inner(scores_); }
  Id row() { return g_.inner(rows_); }
  Id row(Id id) { return g_.tensor(id, rows_, dense_strides(rows_), CUDNN_DATA_FLOAT); }
  Id packed(Id id, std::int64_t heads) {
    return g_.tensor(id, {s_.batch, heads, s_.time, s_.size}, packed_strides(), bf16);
  }
  /// The same memory seen as [batch, heads, size, time].
  Id packed_transposed(Id id, std::int64_t heads) {
    CudnnExtents strides = packed_strides();
    std::swap(strides[2], strides[3]);
    return g_.tensor(id, {s_.batch, heads, s_.size, s_.time}, strides, bf16);
  }
  Id unpacked(Id id) {
    const std::int64_t row = s_.heads * s_.size;
    return g_.tensor(id, queries_, {s_.time * row, s_.size, row, 1}, bf16);
  }
  Id lengths() {
    return s_.lengths ? g_.tensor(attention_lengths, {s_.batch, 1, 1, 1}, {1, 1, 1, 1}, CUDNN_DATA_INT32) : 0;
  }
  CudnnExtents packed_strides() const { return {s_.time * s_.packed_row(), s_.size, s_.packed_row(), 1}; }
  Id index(std::int64_t axis, Id scores) { return g_.index(axis, scores, g_.inner(scores_, CUDNN_DATA_INT32)); }
  Id logical(cudnnPointwiseMode_t mode, Id a, Id b) {
    return g_.pointwise(mode, a, b, g_.inner(scores_, CUDNN_DATA_BOOLEAN), CUDNN_DATA_BOOLEAN);
  }
  Id padded(Id scores, Id lengths);
  Id masked(Id scores);
  Id transposed(Id scores);
  void key_side_gradient(Id weights, Id rows, Id lengths, Id out);

  AttentionSizes s_;
  CudnnExtents scores_, queries_, rows_;
  CudnnGraph g_;
};

/// Scores of queries and keys past the end of their sequence become -infinity.
Id Builder::padded(Id scores, Id lengths) {
  if (!s_.lengths) return scores;
  const Id row_counts = logical(CUDNN_POINTWISE_CMP_LT, index(2, scores), lengths);
  const Id column_counts = logical(CUDNN_POINTWISE_CMP_LT, index(3, scores), lengths);
  const Id counts = logical(CUDNN_POINTWISE_LOGICAL_AND, row_counts, column_counts);
  return g_.select(scores, g_.scalar(-std::numeric_limits<float>::infinity()), counts, score());
}

/// Scores of later keys become -infinity.
Id Builder::masked(Id scores) {
  if (!s_.causal) return scores;
  const Id seen = logical(CUDNN_POINTWISE_CMP_GE, index(2, scores), index(3, scores));
  return g_.select(scores, g_.scalar(-std::numeric_limits<float>::infinity()), seen, score());
}

CudnnGraph Builder::forward() {
  const Id query = packed(attention_query, s_.heads);
  const Id key = packed_transposed(attention_key, s_.key_value_heads);
  const Id value = packed(attention_value, s_.key_value_heads);

  const Id ends = lengths();

  Id scores = g_.matmul(query, key, score(), {.rows = ends, .columns = ends});
  scores = g_.pointwise(CUDNN_POINTWISE_MUL, scores, g_.scalar(s_.scale), score());
  scores = masked(padded(scores, ends));
  const Id maximum = g_.reduce(CUDNN_REDUCE_TENSOR_MAX, scores, row());
  const Id shifted = g_.pointwise(CUDNN_POINTWISE_SUB, scores, maximum, score());
  const Id exponential = g_.pointwise(CUDNN_POINTWISE_EXP, shifted, score());
  const Id sum = g_.reduce(CUDNN_REDUCE_TENSOR_ADD, exponential, row());
  const Id logarithm = g_.pointwise(CUDNN_POINTWISE_LOG, sum, row());
  g_.pointwise(CUDNN_POINTWISE_ADD, maximum, logarithm, row(attention_log_sum_exp));
  const Id probability = g_.pointwise(CUDNN_POINTWISE_DIV, exponential, sum, g_.inner(scores_, bf16));
  g_.matmul(probability, value, unpacked(attention_out), {.rows = ends, .terms = ends});
  return std::move(g_);
}

/// The other operand of a product over queries: bf16 [batch, heads, keys, queries].
Id Builder::transposed(Id scores) {
  CudnnExtents strides = dense_strides(scores_);
  std::swap(strides[2], strides[3]);
  return g_.reshape(scores, g_.inner(scores_, strides, bf16));
}

/// out = weights' rows, summed over queries, and over the query heads that share a key head.
void Builder::key_side_gradient(Id weights, Id rows, Id lengths, Id out) {
  const CudnnLimits limits = {.rows = lengths, .terms = lengths};
  if (s_.heads == s_.key_value_heads) {
    g_.matmul(transposed(weights), rows, out, limits);
    return;
  }
  const Id every_head = g_.matmul(transposed(weights), rows, g_.inner(queries_, bf16), limits);
  g_.reduce(CUDNN_REDUCE_TENSOR_ADD, every_head, out);
}

CudnnGraph Builder::backward(bool deterministic) {
  const Id query = packed(attention_query, s_.heads);
  const Id key = packed_transposed(attention_key, s_.key_value_heads);
  const Id value = packed_transposed(attention_value, s_.key_value_heads);
  const Id dout = unpacked(attention_dout);
  const Id scale = g_.scalar(s_.scale);
  const Id ends = lengths();
  const CudnnLimits square = {.rows = ends, .columns = ends};

  const Id products = g_.pointwise(CUDNN_POINTWISE_MUL, dout, unpacked(attention_out), g_.inner(queries_));
  const Id sums = g_.reduce(CUDNN_REDUCE_TENSOR_ADD, products, row());
  // cuDNN's pattern has the scale of a dropout here
  const Id dots = g_.pointwise(CUDNN_POINTWISE_MUL, sums, g_.scalar(1.0F), row(attention_dots));

  const Id scores = g_.pointwise(CUDNN_POINTWISE_MUL, g_.matmul(query, key, score(), square), scale, score());
  const Id shifted = g_.pointwise(CUDNN_POINTWISE_SUB, padded(scores, ends), row(attention_log_sum_exp), score());
  const Id probability = g_.pointwise(CUDNN_POINTWISE_EXP, masked(shifted), score());
  key_side_gradient(probability, dout, ends, packed(attention_dvalue, s_.key_value_heads));

  const Id dprobability = g_.matmul(dout, value, score(), square);
  const Id centred = g_.pointwise(CUDNN_POINTWISE_SUB, dprobability, dots, score());
  const Id weighted = g_.pointwise(CUDNN_POINTWISE_MUL, centred, probability, score());
  const Id dscores = g_.pointwise(CUDNN_POINTWISE_MUL, weighted, scale, score());
  key_side_gradient(dscores, query, ends, packed(attention_dkey, s_.key_value_heads));

  const Id key_rows = g_.reshape(key, g_.inner({s_.batch, s_.key_value_heads, s_.time, s_.size}, packed_strides()));
  const Id dquery = packed(attention_dquery, s_.heads);
  const CudnnLimits limits = {.rows = ends, .terms = ends};
  if (deterministic) {
    g_.matmul(dscores, key_rows, dquery, limits);
  } else {
    const Id sum = g_.tensor(attention_dquery_sum, queries_, dense_strides(queries_), CUDNN_DATA_FLOAT);
    g_.pointwise(CUDNN_POINTWISE_IDENTITY, g_.matmul(dscores, key_rows, sum, limits), dquery);
  }
  return std::move(g_);
}

}  // namespace

AttentionSizes AttentionSizes::of(const AttentionArgs& args) {
  const Shape& qkv = args.qkv.shape();
  AttentionSizes sizes;
  sizes.heads = args.heads;
  sizes.key_value_heads = args.key_value_heads;
  sizes.size = args.head_size;
  sizes.causal = args.causal;
  sizes.scale = args.scale;
  sizes.lengths = !args.lengths.empty();
  if (qkv.rank() != 3 || args.key_value_heads < 1 || args.heads % args.key_value_heads != 0 || args.head_size < 1 ||
      qkv[2] != sizes.packed_row())
    fail("attention: qkv {} does not hold {} query and 2 x {} key and value heads of {}", qkv.to_string(), args.heads,
         args.key_value_heads, args.head_size);
  sizes.batch = qkv[0];
  sizes.time = qkv[1];
  const std::int64_t rows = sizes.batch * sizes.time * sizes.heads;
  if (args.out.elements() != rows * sizes.size || args.log_sum_exp.elements() != rows)
    fail("attention: out {} or log_sum_exp {} does not fit qkv {} with {} heads of {}", args.out.shape().to_string(),
         args.log_sum_exp.shape().to_string(), qkv.to_string(), args.heads, args.head_size);
  if (sizes.lengths && (args.lengths.elements() != sizes.batch || args.lengths.dtype() != DType::i32))
    fail("attention: lengths {} {} for a batch of {}", name_of(args.lengths.dtype()), args.lengths.shape().to_string(),
         sizes.batch);
  return sizes;
}

CudnnGraph attention_graph(const AttentionSizes& sizes) { return Builder(sizes).forward(); }

CudnnGraph attention_backward_graph(const AttentionSizes& sizes, bool deterministic) {
  return Builder(sizes).backward(deterministic);
}

}  // namespace trireme::cuda
