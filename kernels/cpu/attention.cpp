// Attention in flash form (Dao et al. 2022): tiles of 64 queries and 64 keys, softmax built up tile by tile, and
// probabilities computed again from the log-sum-exp in the backward pass. Score tiles are stored with the keys as
// rows, [keys, queries]: then every product has contiguous rows on its right, and the softmax runs across lanes.
#include <omp.h>

#include <array>
#include <cmath>
#include <limits>

#include "kernels/cpu/state.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

constexpr std::int64_t tile = 64;
using TileRow = std::array<float, tile>;  // a number for each query of a tile

/// Sizes, and where heads lie in the rows of packed and unpacked tensors.
struct Layout {
  explicit Layout(const AttentionArgs& args)
      : batch(args.qkv.shape()[0]),
        time(args.qkv.shape()[1]),
        heads(args.heads),
        key_value_heads(args.key_value_heads),
        size(args.head_size),
        padded((size + columns_a_panel - 1) / columns_a_panel * columns_a_panel) {
    if (args.qkv.shape().rank() != 3 || key_value_heads < 1 || heads % key_value_heads != 0 || size < 1 ||
        args.qkv.shape()[2] != packed_row())
      fail("attention: qkv {} does not hold {} query and 2 x {} key and value heads of {}",
           args.qkv.shape().to_string(), heads, key_value_heads, size);
    expect_elements("attention out", args.out, batch * time * out_row());
    expect_elements("attention log_sum_exp", args.log_sum_exp, batch * heads * time);
  }
  std::int64_t group() const { return heads / key_value_heads; }
  std::int64_t packed_row() const { return (heads + 2 * key_value_heads) * size; }
  std::int64_t out_row() const { return heads * size; }
  std::int64_t query(std::int64_t b, std::int64_t t, std::int64_t head) const {
    return (b * time + t) * packed_row() + head * size;
  }
  std::int64_t key(std::int64_t b, std::int64_t t, std::int64_t head) const { return query(b, t, heads + head); }
  std::int64_t value(std::int64_t b, std::int64_t t, std::int64_t head) const {
    return query(b, t, heads + key_value_heads + head);
  }
  std::int64_t out(std::int64_t b, std::int64_t t, std::int64_t head) const {
    return (b * time + t) * out_row() + head * size;
  }
  std::int64_t statistic(std::int64_t b, std::int64_t t, std::int64_t head) const {
    return (b * heads + head) * time + t;
  }
  std::int64_t tiles() const { return (time + tile - 1) / tile; }
  std::int64_t tile_end(std::int64_t first) const { return std::min(time, first + tile); }

  std::int64_t batch, time, heads, key_value_heads, size;
  std::int64_t padded;  ///< head size in whole panels
};

/// Rows of one head as a matrix of floats: in place where they are floats, else converted into `scratch`.
StridedMatrix as_floats(const float* rows, std::int64_t row, std::int64_t, std::int64_t, float*) {
  return {rows, row, 1};
}
StridedMatrix as_floats(const bfloat16* rows, std::int64_t row, std::int64_t count, std::int64_t size, float* scratch) {
  for (std::int64_t i = 0; i < count; ++i) {
#pragma omp simd
    for (std::int64_t d = 0; d < size; ++d) scratch[i * size + d] = load(rows[i * row + d]);
  }
  return {scratch, size, 1};
}

StridedMatrix transposed(const StridedMatrix& matrix) { return {matrix.data, matrix.column, matrix.row}; }

/// to [size, tile] = factor * the rows transposed; zero in the columns that have no row.
template <typename T>
void load_transposed(const T* rows, std::int64_t row, std::int64_t count, std::int64_t size, float factor, float* to) {
  for (std::int64_t d = 0; d < size; ++d) {
    for (std::int64_t i = 0; i < tile; ++i) to[d * tile + i] = i < count ? factor * load(rows[i * row + d]) : 0.0F;
  }
}

/// to [tile, padded] = factor * the rows; zero where there is none.
template <typename T>
void load_rows(const T* rows, std::int64_t row, std::int64_t count, std::int64_t size, std::int64_t padded,
               float factor, float* to) {
  std::fill_n(to, tile * padded, 0.0F);
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t d = 0; d < size; ++d) to[i * padded + d] = factor * load(rows[i * row + d]);
  }
}

/// rows = factor of the query * from [size, tile] transposed.
template <typename T>
void store_transposed(const float* from, const TileRow& factors, std::int64_t count, std::int64_t size, T* rows,
                      std::int64_t row) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float factor = factors[static_cast<std::size_t>(i)];
    for (std::int64_t d = 0; d < size; ++d) store(rows[i * row + d], from[d * tile + i] * factor);
  }
}

template <typename T>
void store_rows(const float* from, std::int64_t from_row, std::int64_t count, std::int64_t size, T* rows,
                std::int64_t row) {
  for (std::int64_t i = 0; i < count; ++i) {
#pragma omp simd
    for (std::int64_t d = 0; d < size; ++d) store(rows[i * row + d], from[i * from_row + d]);
  }
}

/// Gives scores of keys that lie after their query `value`. The tile starts `ahead` keys after its first query.
void mask(float* scores, std::int64_t keys, std::int64_t ahead, float value) {
  for (std::int64_t j = 0; j < keys; ++j) {
    const std::int64_t first_seen = std::clamp<std::int64_t>(j + ahead, 0, tile);
    std::fill_n(scores + j * tile, first_seen, value);
  }
}

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

/// Hands out parts of one thread's scratch memory, in whole cache lines.
class Scratch {
 public:
  explicit Scratch(float* memory) : next_(memory) {}
  float* take(std::int64_t floats) {
    float* taken = next_;
    next_ += rounded(floats);
    return taken;
  }
  static std::int64_t rounded(std::int64_t floats) { return (floats + 15) / 16 * 16; }

 private:
  float* next_;
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
    const std::int64_t end = l.tile_end(first);
    const std::int64_t key_head = head / l.group();
    float* queries = scratch.take(size * tile);
    float* out = scratch.take(size * tile);
    float* converted = scratch.take(size * tile);
    float* scores = scratch.take(tile * tile);
    load_transposed(qkv_ + l.query(b, first, head), l.packed_row(), end - first, size, scale_, queries);
    std::fill_n(out, size * tile, 0.0F);
    RunningSoftmax softmax;
    const std::int64_t keys_end = causal_ ? end : l.time;
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
      for (std::int64_t first = 0; first < l.time; first += tile) query_tile(b, head, first, buffers);
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
    const std::int64_t count = l.tile_end(first) - first;
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
    const std::int64_t keys_end = causal_ ? first + count : l.time;
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

/// Runs all items of a pass, each thread on scratch memory of its own.
template <typename Pass>
void run_all(const Pass& pass, int threads, MemoryPool& pool) {
  const std::int64_t floats = Scratch::rounded(pass.scratch_floats());
  const PoolBlock block = pool.allocate(static_cast<std::size_t>(threads * floats) * sizeof(float));
  auto* memory = static_cast<float*>(block.data());
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (std::int64_t item = 0; item < pass.items(); ++item) pass.run(item, memory + omp_get_thread_num() * floats);
}

}  // namespace

void CpuBackend::attention(const AttentionArgs& args) {
  const Layout layout(args);
  for_type(args.qkv.dtype(),
           [&](auto type) { run_all(Forward<decltype(type)>(args, layout), state_->threads, pool()); });
}

void CpuBackend::attention_backward(const AttentionBackwardArgs& args) {
  const Layout layout(args.forward);
  expect_elements("attention dout", args.dout, args.forward.out.elements());
  expect_elements("attention dqkv", args.dqkv, args.forward.qkv.elements());
  for_type(args.forward.qkv.dtype(),
           [&](auto type) { run_all(Backward<decltype(type)>(args, layout), state_->threads, pool()); });
}

}  // namespace trireme
