// Embedding: a gather, and the scatter-add that is its gradient, without atomics and in one order of summation.
//
// Backward: the rows of dout are sorted by token (kernels/cuda/token_sort.h), equal tokens in the order of their rows,
// and the sorted rows are cut into tiles. A block sums the runs of equal tokens in its tile. A run that lies within one
// tile is added to the table at once; the parts of a run that crosses tiles go to scratch memory, where the tile in
// which it begins collects them in a second kernel. So a token that fills half the batch costs as little as a rare one.
#include "kernels/cuda/columns.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"
#include "kernels/cuda/token_sort.h"

namespace trireme {
namespace cuda {
namespace {

template <typename T>
struct Gather {
  const std::int32_t* tokens;
  const T *table, *positions;  ///< positions may be null
  T* out;
  std::int64_t rows, time, n, first_token, vocabulary;
};

template <typename Share, typename T>
__global__ void __launch_bounds__(Share::threads) embed_rows(Gather<T> a) {
  const std::int64_t row = Share::row();
  if (row >= a.rows) return;
  const std::int64_t token = a.tokens[row] - a.first_token;
  const bool here = token >= 0 && token < a.vocabulary;
  const RowPart<Share, T> of_token(here ? a.table + token * a.n : nullptr, a.n);
  const RowPart<Share, T> of_position(a.positions != nullptr ? a.positions + row % a.time * a.n : nullptr, a.n);
  Share::for_each(a.n, [&](int piece, std::int64_t column) {
    auto values = of_token.get(piece, column);
    const auto shift = of_position.get(piece, column);
    for (int i = 0; i < Share::width; ++i)
      values.values[i] = from_f32<T>(to_f32(values.values[i]) + to_f32(shift.values[i]));
    store_piece(a.out + row * a.n + column, values);
  });
}

constexpr int tile_rows = 32;

template <typename T>
struct Scatter {
  SortedTokens sorted;  ///< key vocabulary: tokens of other ranks
  const T* dout;
  float* dtable;
  float* parts;  ///< [tiles, 2, n]: sums of the run that came from the tile before, and of the one that begins here
  std::int64_t rows, n;
  int vocabulary;
};

/// out = sum, or out += sum, in 16-byte accesses where there are several columns.
template <bool add, int width>
__device__ __forceinline__ void write_sum(float* out, const float (&sum)[width]) {
  constexpr int piece = width < Pack<float>::size ? 1 : Pack<float>::size;
  for (int first = 0; first < width; first += piece) {
    Piece<float, piece> values = {};
    if constexpr (add) values = load_piece<piece>(out + first);
    for (int i = 0; i < piece; ++i) values.values[i] += sum[first + i];
    store_piece(out + first, values);
  }
}

/// Block (tile, strip of columns): every thread sums `width` columns of the tile's rows, run after run.
template <int width, typename T>
__global__ void __launch_bounds__(256) sum_runs(Scatter<T> a) {
  constexpr int batch = 8;
  __shared__ std::int32_t keys[tile_rows + 2];  // with both neighbours
  __shared__ std::int32_t rows[tile_rows];
  const std::int64_t first = std::int64_t{blockIdx.x} * tile_rows;
  const int count = static_cast<int>(a.rows - first < tile_rows ? a.rows - first : tile_rows);
  for (int i = static_cast<int>(threadIdx.x); i < count + 2; i += static_cast<int>(blockDim.x)) {
    const std::int64_t place = first + i - 1;
    keys[i] = place >= 0 && place < a.rows ? a.sorted.keys[place] : -1;
    if (i < count) rows[i] = a.sorted.rows[first + i];
  }
  __syncthreads();
  const std::int64_t column = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * width;
  if (column >= a.n) return;
  float* parts = a.parts + std::int64_t{blockIdx.x} * 2 * a.n + column;
  float sum[width] = {};
  bool came_in = keys[0] == keys[1];
  for (int begin = 0; begin < count; begin += batch) {
    Piece<T, width> pieces[batch];
    unrolled<batch>([&](int i) {
      if (begin + i < count && keys[begin + i + 1] < a.vocabulary)
        pieces[i] = load_piece<width>(a.dout + rows[begin + i] * a.n + column);
    });
    unrolled<batch>([&](int i) {
      const int at = begin + i;
      if (at >= count || keys[at + 1] >= a.vocabulary) return;
      for (int j = 0; j < width; ++j) sum[j] += to_f32(pieces[i].values[j]);
      const bool goes_on = keys[at + 2] == keys[at + 1];
      if (goes_on && at + 1 < count) return;
      if (came_in)
        write_sum<false>(parts, sum);
      else if (goes_on)
        write_sum<false>(parts + a.n, sum);
      else
        write_sum<true>(a.dtable + keys[at + 1] * a.n + column, sum);
      came_in = false;
      for (int j = 0; j < width; ++j) sum[j] = 0.0F;
    });
  }
}

/// Block (tile, strip of columns): adds the run that begins in this tile and goes on in the next, if there is one.
__global__ void __launch_bounds__(256) collect_runs(SortedTokens sorted, const float* parts, float* dtable,
                                                    std::int64_t rows, std::int64_t n, int vocabulary) {
  const std::int64_t tile = blockIdx.x;
  const std::int64_t first = tile * tile_rows;
  const std::int64_t next = first + tile_rows;
  const std::int64_t column = std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x;
  if (next >= rows || column >= n) return;
  const std::int32_t key = sorted.keys[next - 1];
  const bool came_in = first > 0 && sorted.keys[first - 1] == key;
  if (key >= vocabulary || came_in || sorted.keys[next] != key) return;
  std::int64_t inside = next;  // of the run
  std::int64_t outside = rows;
  while (outside - inside > 1) {
    const std::int64_t middle = (inside + outside) / 2;
    (sorted.keys[middle] == key ? inside : outside) = middle;
  }
  const std::int64_t last_tile = inside / tile_rows;
  float sum = parts[(tile * 2 + 1) * n + column];
  for (std::int64_t from = tile + 1; from <= last_tile; ++from) sum += parts[from * 2 * n + column];
  dtable[key * n + column] += sum;
}

template <int width, typename T>
void scatter_add(cudaStream_t stream, const Scatter<T>& a) {
  const std::int64_t threads = std::min<std::int64_t>(256, (a.n / width + warp_size - 1) / warp_size * warp_size);
  const auto tiles = static_cast<unsigned>((a.rows + tile_rows - 1) / tile_rows);
  const auto strips = static_cast<unsigned>((a.n / width + threads - 1) / threads);
  launch(sum_runs<width, T>, dim3(tiles, strips), static_cast<unsigned>(threads), stream, a);
  if (tiles > 1)
    launch(collect_runs, dim3(tiles, blocks_for(a.n, 256)), 256, stream, a.sorted, a.parts, a.dtable, a.rows, a.n,
           a.vocabulary);
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::embedding(const EmbeddingArgs& args) {
  const std::int64_t n = args.table.shape().columns();
  const std::int64_t rows = args.tokens.elements();
  const std::int64_t time = args.tokens.shape().columns();
  expect_elements("embedding out", args.out, rows * n);
  if (!args.positions.empty()) static_cast<void>(args.positions.view(0, {time, n}));  // fails where they are fewer
  if (rows * n == 0) return;
  for_type(args.table.dtype(), [&](auto type) {
    using T = decltype(type);
    const Gather<T> a{args.tokens.data<std::int32_t>(),
                      elements_of<T>(args.table),
                      elements_of<T>(args.positions),
                      writable<T>(args.out),
                      rows,
                      time,
                      n,
                      args.first_token,
                      args.table.shape().rows()};
    const bool packed = at_packs({a.table, a.positions, a.out});
    for_share<T>(n, packed, [&](auto share) {
      using Share = decltype(share);
      launch(embed_rows<Share, T>, Share::blocks(rows), Share::threads, state_->compute.get(), a);
    });
  });
}

void CudaBackend::embedding_backward(const EmbeddingBackwardArgs& args) {
  const std::int64_t n = args.dtable.shape().columns();
  const std::int64_t rows = args.tokens.elements();
  const std::int64_t time = args.tokens.shape().columns();
  const std::int64_t vocabulary = args.dtable.shape().rows();
  expect_elements("embedding dout", args.dout, rows * n);
  if (rows * n == 0) return;
  if (!args.dpositions.empty())  // a sum over the batch
    add_column_sums(args.dout.reshape({rows / time, time * n}), args.dpositions.view(0, {time * n}));
  const TokenSort sort(*this, state_->compute.get(), args.tokens, args.first_token, vocabulary);
  const Tensor parts = allocate({(rows + tile_rows - 1) / tile_rows, 2, n}, DType::f32);
  for_type(args.dout.dtype(), [&](auto type) {
    using T = decltype(type);
    const Scatter<T> a{sort.sorted(),
                       elements_of<T>(args.dout),
                       writable<float>(args.dtable),
                       writable<float>(parts),
                       rows,
                       n,
                       static_cast<int>(vocabulary)};
    const bool packed = at_packs({a.dout, a.dtable});
    for_width<T>(n, packed, [&](auto width) { scatter_add<width>(state_->compute.get(), a); });
  });
}

}  // namespace trireme
