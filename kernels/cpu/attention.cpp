// Attention in flash form (Dao et al. 2022): tiles of 64 queries and 64 keys, softmax built up tile by tile.
#include <cmath>

#include "kernels/cpu/attention_tiles.h"
#include "kernels/cpu/state.h"

namespace trireme {
namespace {

using namespace attention_tiles;

struct RunningSoftmax {
  TileRow maximum, sum;
  RunningSoftmax() {
    maximum.fill(std::numeric_limits<float>::lowest());
    sum.fill(0.0F);
  }

  /// Turns scores [keys, tile] into exp(score - maximum so far); `rescale` receives what earlier results are worth.
  void add(float* scores, std::int64_t keys, TileRow& rescale) {
    TileRow larger = maximum;
    for (std::int64_t j = 0; j < keys; ++j) {
#pragma omp simd
      for (std::int64_t i = 0; i < tile; ++i) {
        const float score = scores[j * tile + i];
        larger[i] = score > larger[i] ? score : larger[i];
      }
    }
#pragma omp simd
    for (std::int64_t i = 0; i < tile; ++i) {
      rescale[i] = exp_vector(maximum[i] - larger[i]);
      sum[i] *= rescale[i];
    }
    maximum = larger;
    for (std::int64_t j = 0; j < keys; ++j) {
#pragma omp simd
      for (std::int64_t i = 0; i < tile; ++i) {
        const float probability = exp_vector(scores[j * tile + i] - larger[i]);
        scores[j * tile + i] = probability;
        sum[i] += probability;
      }
    }
  }
};

/// One tile of queries of one head against all its keys.
template <typename T>
class Forward {
 public:
  Forward(const AttentionArgs& args, const Layout& layout)
      : layout_(layout),
        causal_(args.causal),
        scale_(args.scale),
        qkv_(args.qkv.data<T>()),
        out_(Tensor(args.out).data<T>()),
        log_sum_exp_(Tensor(args.log_sum_exp).data<float>()) {}

  std::int64_t items() const { return layout_.batch * layout_.heads * layout_.tiles(); }
  std::int64_t scratch_floats() const { return 3 * tile * layout_.padded + tile * tile; }

  void run(std::int64_t item, float* memory) const {
    Scratch scratch(memory);
    const Layout& l = layout_;
    const std::int64_t size = l.size;
    const std::int64_t first = (l.tiles() - 1 - item % l.tiles()) * tile;  // a causal head's last tiles cost most
    const std::int64_t head = item / l.tiles() % l.heads;
    const std::int64_t b = item / l.tiles() / l.heads;
    const std::int64_t end = std::min(first + tile, l.length(b));
    if (const std::int64_t tail = std::max(first, end); tail < l.time) {  // what takes no part
      const std::int64_t rest = std::min(first + tile, l.time) - tail;
      clear_rows(rest, size, out_ + l.out(b, tail, head), l.out_row());
      std::fill_n(log_sum_exp_ + l.statistic(b, tail, head), rest, 0.0F);
    }
    if (first >= end) return;
    const std::int64_t key_head = head / l.group();
    float* queries = scratch.take(size * tile);
    float* out = scratch.take(size * tile);
    float* converted = scratch.take(size * tile);
    float* scores = scratch.take(tile * tile);
    load_transposed(qkv_ + l.query(b, first, head), l.packed_row(), end - first, size, scale_, queries);
    std::fill_n(out, size * tile, 0.0F);
    RunningSoftmax softmax;
    const std::int64_t keys_end = causal_ ? end : l.length(b);
    for (std::int64_t key = 0; key < keys_end; key += tile) {
      const std::int64_t keys = std::min(tile, keys_end - key);
      const auto k = as_floats(qkv_ + l.key(b, key, key_head), l.packed_row(), keys, size, converted);
      multiply_tiles(keys, tile, size, k, queries, tile, scores, tile, false);
      if (causal_) mask(scores, keys, key - first, -std::numeric_limits<float>::infinity());
      TileRow rescale;
      softmax.add(scores, keys, rescale);
      for (std::int64_t d = 0; d < size; ++d) {
#pragma omp simd
        for (std::int64_t i = 0; i < tile; ++i) out[d * tile + i] *= rescale[i];
      }
      const auto v = as_floats(qkv_ + l.value(b, key, key_head), l.packed_row(), keys, size, converted);
      multiply_tiles(size, tile, keys, transposed(v), scores, tile, out, tile, true);
    }
    for (std::int64_t i = 0; i < end - first; ++i)
      log_sum_exp_[l.statistic(b, first + i, head)] = softmax.maximum[i] + std::log(softmax.sum[i]);
    for (float& sum : softmax.sum) sum = 1.0F / sum;
    store_transposed(out, softmax.sum, end - first, size, out_ + l.out(b, first, head), l.out_row());
  }

 private:
  Layout layout_;
  bool causal_;
  float scale_;
  const T* qkv_;
  T* out_;
  float* log_sum_exp_;
};

}  // namespace

void CpuBackend::attention(const AttentionArgs& args) {
  const Layout layout(args);
  for_type(args.qkv.dtype(),
           [&](auto type) { run_all(Forward<decltype(type)>(args, layout), state_->threads, pool()); });
}

}  // namespace trireme
