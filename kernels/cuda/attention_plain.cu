// A block has 16 x 16 threads: thread (i, j) computes the score of query i and key j of a tile, and then 4 numbers of
// row i of the result.
#include <cmath>

#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace trireme::cuda {
namespace {

constexpr int tile = 16;   ///< queries, and keys
constexpr int slice = 64;  ///< columns of a head that are in shared memory, and of a block's result
constexpr int threads = tile * tile;
constexpr int columns = slice / tile;  ///< of the result, of one thread
using Slice = float[tile][slice + 1];  // one more, so that a column's elements lie in different banks
using Scores = float[tile][tile];

/// Sizes, and where heads lie in the rows of packed and unpacked tensors.
struct Layout {
  explicit Layout(const AttentionArgs& args)
      : batch(args.qkv.shape()[0]),
        time(args.qkv.shape()[1]),
        heads(args.heads),
        key_value_heads(args.key_value_heads),
        size(args.head_size),
        causal(args.causal),
        scale(args.scale),
        lengths(args.lengths.empty() ? nullptr : args.lengths.data<std::int32_t>()) {}
  std::int64_t tiles() const { return (time + tile - 1) / tile; }
  std::int64_t slices() const { return (size + slice - 1) / slice; }
  __device__ int group() const { return heads / key_value_heads; }
  __device__ std::int64_t packed_row() const { return static_cast<std::int64_t>(heads + 2 * key_value_heads) * size; }
  __device__ std::int64_t out_row() const { return static_cast<std::int64_t>(heads) * size; }
  __device__ std::int64_t query(std::int64_t b, std::int64_t t, int head) const {
    return (b * time + t) * packed_row() + static_cast<std::int64_t>(head) * size;
  }
  __device__ std::int64_t key(std::int64_t b, std::int64_t t, int head) const { return query(b, t, heads + head); }
  __device__ std::int64_t value(std::int64_t b, std::int64_t t, int head) const {
    return query(b, t, heads + key_value_heads + head);
  }
  __device__ std::int64_t out(std::int64_t b, std::int64_t t, int head) const {
    return (b * time + t) * out_row() + static_cast<std::int64_t>(head) * size;
  }
  __device__ std::int64_t statistic(std::int64_t b, std::int64_t t, int head) const {
    return (b * heads + head) * time + t;
  }
  /// Positions of a sequence that take part.
  __device__ std::int64_t length(std::int64_t b) const {
    if (lengths == nullptr || lengths[b] >= time) return time;
    return lengths[b] > 0 ? lengths[b] : 0;
  }
  /// Where the keys end that a tile of queries sees.
  __device__ std::int64_t keys_end(std::int64_t b, std::int64_t first_query) const {
    const std::int64_t all = length(b);
    if (first_query >= all) return 0;
    return causal && first_query + tile < all ? first_query + tile : all;
  }
  __device__ bool sees(std::int64_t b, std::int64_t query, std::int64_t key) const {
    return query < length(b) && key < length(b) && (!causal || key <= query);
  }

  std::int64_t batch, time;
  int heads, key_value_heads, size;
  bool causal;
  float scale;
  const std::int32_t* lengths;  ///< or null
};

/// What a block computes: a slice of the rows of a tile of one head.
struct Item {
  __device__ Item(std::int64_t number, const Layout& l, int heads) {
    const std::int64_t tiles = (l.time + tile - 1) / tile;
    const int slices = (l.size + slice - 1) / slice;
    first_column = static_cast<int>(number % slices) * slice;
    first = number / slices % tiles * tile;
    head = static_cast<int>(number / slices / tiles % heads);
    b = number / slices / tiles / heads;
  }
  std::int64_t first;  ///< row of the tile
  std::int64_t b;
  int first_column, head;
};

/// Rows of a tile of one head in memory.
template <typename T>
struct Rows {
  const T* data;
  std::int64_t stride;
  std::int64_t count;  ///< rows that take part, from here on
  int size;
};

template <typename T>
__device__ void load_slice(const Rows<T>& rows, int first_column, Slice& to) {
  for (int i = static_cast<int>(threadIdx.x); i < tile * slice; i += threads) {
    const int row = i / slice;
    const int column = first_column + i % slice;
    to[row][i % slice] = row < rows.count && column < rows.size ? to_f32(rows.data[row * rows.stride + column]) : 0.0F;
  }
}

/// Row i of a times row j of b, for thread (i, j).
template <typename T>
__device__ float product(const Rows<T>& a, const Rows<T>& b, Slice& a_slice, Slice& b_slice) {
  const int i = static_cast<int>(threadIdx.x) / tile;
  const int j = static_cast<int>(threadIdx.x) % tile;
  float sum = 0.0F;
  for (int first = 0; first < a.size; first += slice) {
    __syncthreads();  // the slices may still be read
    load_slice(a, first, a_slice);
    load_slice(b, first, b_slice);
    __syncthreads();
    for (int d = 0; d < slice; ++d) sum += a_slice[i][d] * b_slice[j][d];
  }
  return sum;
}

/// Writes the thread's part of a row of the result.
template <typename T>
__device__ void store_row(const float (&values)[columns], float factor, int first_column, int size, T* row) {
  const int lane = static_cast<int>(threadIdx.x) % tile;
  for (int c = 0; c < columns; ++c) {
    const int column = first_column + lane + c * tile;
    if (column < size) row[column] = from_f32<T>(values[c] * factor);
  }
}

template <typename T>
__global__ void __launch_bounds__(threads) attend(Layout l, const T* qkv, T* out, float* log_sum_exp) {
  __shared__ Slice x;
  __shared__ Slice y;
  __shared__ Scores scores;
  __shared__ Scores probabilities;
  const Item item(blockIdx.x, l, l.heads);
  const int i = static_cast<int>(threadIdx.x) / tile;
  const int j = static_cast<int>(threadIdx.x) % tile;
  const int key_head = item.head / l.group();
  const std::int64_t t = item.first + i;
  const std::int64_t length = l.length(item.b);
  const Rows<T> queries = {qkv + l.query(item.b, item.first, item.head), l.packed_row(), length - item.first, l.size};
  float maximum = -3.402823466e38F;  // of the scores so far
  float sum = 0.0F;                  // of exp(score - maximum)
  float result[columns] = {};
  const std::int64_t end = l.keys_end(item.b, item.first);
  for (std::int64_t key = 0; key < end; key += tile) {
    const Rows<T> keys = {qkv + l.key(item.b, key, key_head), l.packed_row(), length - key, l.size};
    const Rows<T> values = {qkv + l.value(item.b, key, key_head), l.packed_row(), length - key, l.size};
    const float dot = product(queries, keys, x, y);
    const float score = l.sees(item.b, t, key + j) ? l.scale * dot : -INFINITY;
    scores[i][j] = score;
    __syncthreads();
    float larger = maximum;
    for (int k = 0; k < tile; ++k) larger = fmaxf(larger, scores[i][k]);
    const float rescale = expf(maximum - larger);
    maximum = larger;
    probabilities[i][j] = expf(score - larger);
    load_slice(values, item.first_column, y);
    __syncthreads();
    sum *= rescale;
    for (int k = 0; k < tile; ++k) sum += probabilities[i][k];
    for (int c = 0; c < columns; ++c) {
      result[c] *= rescale;
      for (int k = 0; k < tile; ++k) result[c] += probabilities[i][k] * y[k][j + c * tile];
    }
  }
  if (t >= l.time) return;
  const bool takes_part = t < length;
  store_row(result, takes_part ? 1.0F / sum : 0.0F, item.first_column, l.size, out + l.out(item.b, t, item.head));
  if (item.first_column == 0 && j == 0)
    log_sum_exp[l.statistic(item.b, t, item.head)] = takes_part ? maximum + logf(sum) : 0.0F;
}

/// What the backward kernels read.
template <typename T>
struct Gradients {
  Layout l;
  const T* qkv;
  const T* dout;
  const float* log_sum_exp;
  const float* dots;

  __device__ Rows<T> queries(std::int64_t b, std::int64_t t, int head) const {
    return {qkv + l.query(b, t, head), l.packed_row(), l.length(b) - t, l.size};
  }
  __device__ Rows<T> keys(std::int64_t b, std::int64_t t, int head) const {
    return {qkv + l.key(b, t, head), l.packed_row(), l.length(b) - t, l.size};
  }
  __device__ Rows<T> values(std::int64_t b, std::int64_t t, int head) const {
    return {qkv + l.value(b, t, head), l.packed_row(), l.length(b) - t, l.size};
  }
  __device__ Rows<T> douts(std::int64_t b, std::int64_t t, int head) const {
    return {dout + l.out(b, t, head), l.out_row(), l.length(b) - t, l.size};
  }

  /// Probability of the thread's query and key of two tiles, and the gradient of its score (of the dot product).
  __device__ void score(std::int64_t b, int head, std::int64_t query, std::int64_t key, Slice& x, Slice& y,
                        float& probability, float& gradient) const {
    const int key_head = head / l.group();
    const float dot = product(queries(b, query, head), keys(b, key, key_head), x, y);
    const float dprobability = product(douts(b, query, head), values(b, key, key_head), x, y);
    query += threadIdx.x / tile;
    key += threadIdx.x % tile;
    probability = gradient = 0.0F;
    if (!l.sees(b, query, key)) return;
    const std::int64_t row = l.statistic(b, query, head);
    probability = expf(l.scale * dot - log_sum_exp[row]);
    gradient = probability * (dprobability - dots[row]) * l.scale;
  }
};

/// dots [batch, heads, time] = dout . out: how the gradient goes through the softmax's denominator. A thread a row.
template <typename T>
__global__ void __launch_bounds__(threads) dot_rows(Layout l, const T* out, const T* dout, float* dots) {
  const std::int64_t row = global_thread();
  if (row >= l.batch * l.heads * l.time) return;
  const std::int64_t at = l.out(row / l.time / l.heads, row % l.time, static_cast<int>(row / l.time % l.heads));
  float sum = 0.0F;
  for (int d = 0; d < l.size; ++d) sum += to_f32(out[at + d]) * to_f32(dout[at + d]);
  dots[row] = sum;
}

template <typename T>
__global__ void __launch_bounds__(threads) query_gradients(Gradients<T> g, T* dqkv) {
  __shared__ Slice x;
  __shared__ Slice y;
  __shared__ Scores gradients;
  const Layout& l = g.l;
  const Item item(blockIdx.x, l, l.heads);
  const int i = static_cast<int>(threadIdx.x) / tile;
  const int j = static_cast<int>(threadIdx.x) % tile;
  float result[columns] = {};
  const std::int64_t end = l.keys_end(item.b, item.first);
  for (std::int64_t key = 0; key < end; key += tile) {
    float probability = 0.0F;
    float gradient = 0.0F;
    g.score(item.b, item.head, item.first, key, x, y, probability, gradient);
    gradients[i][j] = gradient;
    __syncthreads();
    load_slice(g.keys(item.b, key, item.head / l.group()), item.first_column, y);
    __syncthreads();
    for (int c = 0; c < columns; ++c)
      for (int k = 0; k < tile; ++k) result[c] += gradients[i][k] * y[k][j + c * tile];
  }
  const std::int64_t t = item.first + i;
  if (t < l.time) store_row(result, 1.0F, item.first_column, l.size, dqkv + l.query(item.b, t, item.head));
}

/// Sums over the query heads of a key head, then over the queries, in order.
template <typename T>
__global__ void __launch_bounds__(threads) key_value_gradients(Gradients<T> g, T* dqkv) {
  __shared__ Slice x;
  __shared__ Slice y;
  __shared__ Scores probabilities;
  __shared__ Scores gradients;
  const Layout& l = g.l;
  const Item item(blockIdx.x, l, l.key_value_heads);
  const int i = static_cast<int>(threadIdx.x) / tile;  // a query of the scores, then a key of the results
  const int j = static_cast<int>(threadIdx.x) % tile;
  float dkey[columns] = {};
  float dvalue[columns] = {};
  for (int head = item.head * l.group(); head < (item.head + 1) * l.group(); ++head) {
    for (std::int64_t query = l.causal ? item.first : 0; query < l.length(item.b); query += tile) {
      float probability = 0.0F;
      float gradient = 0.0F;
      g.score(item.b, head, query, item.first, x, y, probability, gradient);
      probabilities[i][j] = probability;
      gradients[i][j] = gradient;
      __syncthreads();
      load_slice(g.queries(item.b, query, head), item.first_column, x);
      load_slice(g.douts(item.b, query, head), item.first_column, y);
      __syncthreads();
      for (int c = 0; c < columns; ++c) {
        for (int k = 0; k < tile; ++k) {
          dkey[c] += gradients[k][i] * x[k][j + c * tile];
          dvalue[c] += probabilities[k][i] * y[k][j + c * tile];
        }
      }
    }
  }
  const std::int64_t t = item.first + i;
  if (t >= l.time) return;
  store_row(dkey, 1.0F, item.first_column, l.size, dqkv + l.key(item.b, t, item.head));
  store_row(dvalue, 1.0F, item.first_column, l.size, dqkv + l.value(item.b, t, item.head));
}

/// blockIdx.y is a sequence, of `packs` packs with `row` of them at each position.
template <typename T>
__global__ void __launch_bounds__(threads)
    clear_tails(const std::int32_t* lengths, std::int64_t row, std::int64_t packs, T* x) {
  const std::int64_t length = lengths[blockIdx.y];
  T* sequence = x + blockIdx.y * packs * Pack<T>::size;
  for (std::int64_t i = (length > 0 ? length : 0) * row + global_thread(); i < packs; i += global_threads())
    store_pack(sequence + i * Pack<T>::size, Pack<T>{});
}

dim3 grid_for(const Layout& l, int heads) {
  return dim3(static_cast<unsigned>(l.batch * heads * l.tiles() * l.slices()));
}

}  // namespace

void plain_attention(const AttentionArgs& args, cudaStream_t stream) {
  const Layout l(args);
  if (args.qkv.elements() == 0) return;
  for_type(args.qkv.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(attend<T>, grid_for(l, l.heads), dim3(threads), stream, l, elements_of<T>(args.qkv), writable<T>(args.out),
           writable<float>(args.log_sum_exp));
  });
}

void plain_attention_backward(const AttentionBackwardArgs& args, Backend& scratch, cudaStream_t stream) {
  const AttentionArgs& forward = args.forward;
  const Layout l(forward);
  if (forward.qkv.elements() == 0) return;
  const std::int64_t rows = l.batch * l.heads * l.time;
  const Tensor dots = scratch.allocate({rows}, DType::f32);
  for_type(forward.qkv.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(dot_rows<T>, dim3(blocks_for(rows, threads, std::int64_t{1} << 31)), dim3(threads), stream, l,
           elements_of<T>(forward.out), elements_of<T>(args.dout), writable<float>(dots));
    const Gradients<T> g = {l, elements_of<T>(forward.qkv), elements_of<T>(args.dout),
                            elements_of<float>(forward.log_sum_exp), elements_of<float>(dots)};
    T* dqkv = writable<T>(args.dqkv);
    launch(query_gradients<T>, grid_for(l, l.heads), dim3(threads), stream, g, dqkv);
    launch(key_value_gradients<T>, grid_for(l, l.key_value_heads), dim3(threads), stream, g, dqkv);
  });
}

void clear_past(const Tensor& lengths, std::int64_t row, Tensor x, cudaStream_t stream) {
  const std::int64_t batch = lengths.elements();
  for_type(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const std::int64_t packs = x.elements() / batch / Pack<T>::size;
    launch(clear_tails<T>, dim3(blocks_for(packs, threads, 32), static_cast<unsigned>(batch)), dim3(threads), stream,
           lengths.data<std::int32_t>(), row / Pack<T>::size, packs, writable<T>(x));
  });
}

}  // namespace trireme::cuda
