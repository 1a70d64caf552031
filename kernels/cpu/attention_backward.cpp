// Gradient of attention in flash form (Dao et al. 2022): probabilities are computed again from the log-sum-exp.
#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/state.h"

namespace trireme {
namespace {

using namespace attention_tiles;

/// One key head: its keys' and values' gradients sum over queries and heads in a fixed order, so that they do not
/// depend on the number of threads.
template <typename T>
class Backward {
 public:
  Backward(const AttentionBackwardArgs& args, const Layout& layout)
      : layout_(layout),
        causal_(args.forward.causal),
        scale_(args.forward.scale),
        qkv_(args.forward.qkv.data<T>()),
        out_(args.forward.out.data<T>()),
        dout_(args.dout.data<T>()),
        log_sum_exp_(args.forward.log_sum_exp.data<float>()),
        dqkv_(Tensor(args.dqkv).data<T>()) {}

  std::int64_t items() const { return layout_.batch * layout_.key_value_heads; }
  std::int64_t scratch_floats() const {
    return 2 * layout_.time * layout_.padded + 7 * tile * layout_.padded + 2 * tile * tile;
  }

  void run(std::int64_t item, float* memory) const {
    const Layout& l = layout_;
    const std::int64_t b = item / l.key_value_heads;
    const std::int64_t key_head = item % l.key_value_heads;
    const Buffers buffers(memory, l);
    std::fill_n(buffers.dkeys, l.time * l.padded, 0.0F);
    std::fill_n(buffers.dvalues, l.time * l.padded, 0.0F);
    for (std::int64_t head = key_head * l.group(); head < (key_head + 1) * l.group(); ++head) {
      const std::int64_t length = l.length(b);
      for (std::int64_t first = 0; first < length; first += tile) query_tile(b, head, first, buffers);
      clear_rows(l.time - length, l.size, dqkv_ + l.query(b, length, head), l.packed_row());
    }
    store_rows(buffers.dkeys, l.padded, l.time, l.size, dqkv_ + l.key(b, 0, key_head), l.packed_row());
    store_rows(buffers.dvalues, l.padded, l.time, l.size, dqkv_ + l.value(b, 0, key_head), l.packed_row());
  }

 private:
  struct Buffers {
    Buffers(float* memory, const Layout& l) : Buffers(Scratch(memory), l) {}
    float *dkeys, *dvalues;                                // [time, padded]
    float *queries, *queries_across, *dout, *dout_across;  // [tile, padded] and transposed, [size, tile]
    float *dqueries_across, *keys, *values;
    float *probabilities, *dscores;  // [keys, queries]

   private:
    Buffers(Scratch scratch, const Layout& l)
        : dkeys(scratch.take(l.time * l.padded)),
          dvalues(scratch.take(l.time * l.padded)),
          queries(scratch.take(tile * l.padded)),
          queries_across(scratch.take(tile * l.padded)),
          dout(scratch.take(tile * l.padded)),
          dout_across(scratch.take(tile * l.padded)),
          dqueries_across(scratch.take(tile * l.padded)),
          keys(scratch.take(tile * l.padded)),
          values(scratch.take(tile * l.padded)),
          probabilities(scratch.take(tile * tile)),
          dscores(scratch.take(tile * tile)) {}
  };

  void query_tile(std::int64_t b, std::int64_t head, std::int64_t first, const Buffers& to) const {
    const Layout& l = layout_;
    const std::int64_t count = std::min(tile, l.length(b) - first);
    const std::int64_t key_head = head / l.group();
    const T* queries = qkv_ + l.query(b, first, head);
    const T* dout = dout_ + l.out(b, first, head);
    load_rows(queries, l.packed_row(), count, l.size, l.padded, scale_, to.queries);
    load_transposed(queries, l.packed_row(), count, l.size, scale_, to.queries_across);
    load_rows(dout, l.out_row(), count, l.size, l.padded, 1.0F, to.dout);
    load_transposed(dout, l.out_row(), count, l.size, 1.0F, to.dout_across);
    std::fill_n(to.dqueries_across, l.size * tile, 0.0F);
    TileRow log_sum_exp{};
    TileRow through_out{};  // sum of out * dout: how the gradient goes through the softmax's denominator
    for (std::int64_t i = 0; i < count; ++i) {
      const T* out = out_ + l.out(b, first + i, head);
      float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t d = 0; d < l.size; ++d) sum += load(out[d]) * to.dout[i * l.padded + d];
      through_out[i] = sum;
      log_sum_exp[i] = log_sum_exp_[l.statistic(b, first + i, head)];
    }
    const std::int64_t keys_end = causal_ ? first + count : l.length(b);
    for (std::int64_t key = 0; key < keys_end; key += tile) {
      const std::int64_t keys = std::min(tile, keys_end - key);
      const auto k = as_floats(qkv_ + l.key(b, key, key_head), l.packed_row(), keys, l.size, to.keys);
      const auto v = as_floats(qkv_ + l.value(b, key, key_head), l.packed_row(), keys, l.size, to.values);
      multiply_tiles(keys, tile, l.size, k, to.queries_across, tile, to.probabilities, tile, false);
      multiply_tiles(keys, tile, l.size, v, to.dout_across, tile, to.dscores, tile, false);
      if (causal_) mask(to.probabilities, keys, key - first, -std::numeric_limits<float>::infinity());
      softmax_gradient(to.probabilities, to.dscores, keys, log_sum_exp, through_out);
      const StridedMatrix probabilities = {to.probabilities, tile, 1};
      const StridedMatrix dscores = {to.dscores, tile, 1};
      multiply_tiles(keys, l.padded, count, probabilities, to.dout, l.padded, to.dvalues + key * l.padded, l.padded,
                     true);
      multiply_tiles(keys, l.padded, count, dscores, to.queries, l.padded, to.dkeys + key * l.padded, l.padded, true);
      multiply_tiles(l.size, tile, keys, transposed(k), to.dscores, tile, to.dqueries_across, tile, true);
    }
    TileRow scales;
    scales.fill(scale_);
    store_transposed(to.dqueries_across, scales, count, l.size, dqkv_ + l.query(b, first, head), l.packed_row());
  }

  /// Scores become probabilities, and gradients of probabilities those of scores.
  static void softmax_gradient(float* scores, float* gradients, std::int64_t keys, const TileRow& log_sum_exp,
                               const TileRow& through_out) {
    for (std::int64_t j = 0; j < keys; ++j) {
#pragma omp simd
      for (std::int64_t i = 0; i < tile; ++i) {
        const float probability = exp_vector(scores[j * tile + i] - log_sum_exp[i]);
        scores[j * tile + i] = probability;
        gradients[j * tile + i] = probability * (gradients[j * tile + i] - through_out[i]);
      }
    }
  }

  Layout layout_;
  bool causal_;
  float scale_;
  const T *qkv_, *out_, *dout_;
  const float* log_sum_exp_;
  T* dqkv_;
};

}  // namespace

void CpuBackend::attention_backward(const AttentionBackwardArgs& args) {
  const Layout layout(args.forward);
  expect_elements("attention dout", args.dout, args.forward.out.elements());
  expect_elements("attention dqkv", args.dqkv, args.forward.qkv.elements());
  for_type(args.forward.qkv.dtype(),
           [&](auto type) { run_all(Backward<decltype(type)>(args, layout), state_->threads, pool()); });
}

}  // namespace trireme
