// Embedding: a gather, and the scatter-add that is its gradient.
#include <cstring>

#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

template <typename T>
void embed_row(const T* token, const T* position, T* out, std::int64_t n) {
  if (token != nullptr && position != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) store(out[i], load(token[i]) + load(position[i]));
  } else if (const T* only = token != nullptr ? token : position; only != nullptr) {
    std::memcpy(out, only, static_cast<std::size_t>(n) * sizeof(T));
  } else {
    std::fill_n(out, n, T{});
  }
}

template <typename T>
void add_row(const T* from, float* to, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) to[i] += load(from[i]);
}

/// Every number of dtable belongs to one task, a range of columns of the tokens of one residue class, and is summed in
/// the order of the rows: no races, and the same bits for any number of tasks. Looking through the tokens once a task
/// is cheap beside the rows they stand for.
template <typename T>
void scatter_add(int threads, std::span<const std::int32_t> tokens, const T* dout, std::int64_t first_token,
                 std::int64_t vocabulary, std::int64_t n, float* dtable) {
  constexpr std::int64_t width = 128;
  const std::int64_t ranges = (n + width - 1) / width;
  const std::int64_t classes = (4 * threads + ranges - 1) / ranges;
  for_blocks(threads, ranges * classes, 1, [&](std::int64_t task, std::int64_t) {
    const std::int64_t begin = task / classes * width;
    const std::int64_t columns = std::min(width, n - begin);
    for (std::size_t row = 0; row < tokens.size(); ++row) {
      const std::int64_t token = tokens[row] - first_token;
      if (token < 0 || token >= vocabulary || token % classes != task % classes) continue;
      add_row(dout + static_cast<std::int64_t>(row) * n + begin, dtable + token * n + begin, columns);
    }
  });
}

}  // namespace

void CpuBackend::embedding(const EmbeddingArgs& args) {
  const std::int64_t n = args.table.shape().columns();
  const std::int64_t vocabulary = args.table.shape().rows();
  const std::int64_t time = args.tokens.shape().columns();
  expect_elements("embedding out", args.out, args.tokens.elements() * n);
  if (!args.positions.empty() && args.positions.elements() < time * n)
    fail("embedding: positions {} are fewer than {} tokens", args.positions.shape().to_string(), time);
  for_type(args.table.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int32_t* tokens = args.tokens.data<std::int32_t>();
    const T* table = args.table.data<T>();
    const T* positions = data_or_null<T>(args.positions);
    Tensor result = args.out;
    T* out = result.data<T>();
    for_rows(state_->threads, args.tokens.elements(), n, [&](std::int64_t row) {
      const std::int64_t token = tokens[row] - args.first_token;
      const bool here = token >= 0 && token < vocabulary;
      embed_row(here ? table + token * n : nullptr, positions != nullptr ? positions + row % time * n : nullptr,
                out + row * n, n);
    });
  });
}

void CpuBackend::embedding_backward(const EmbeddingBackwardArgs& args) {
  const std::int64_t n = args.dtable.shape().columns();
  const std::int64_t rows = args.tokens.elements();
  const std::int64_t time = args.tokens.shape().columns();
  expect_elements("embedding dout", args.dout, rows * n);
  if (!args.dpositions.empty() && args.dpositions.elements() < time * n)
    fail("embedding: dpositions {} are fewer than {} tokens", args.dpositions.shape().to_string(), time);
  for_type(args.dout.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* dout = args.dout.data<T>();
    EmbeddingBackwardArgs a = args;
    scatter_add(state_->threads, args.tokens.values<std::int32_t>(), dout, args.first_token, a.dtable.shape().rows(), n,
                a.dtable.data<float>());
    if (a.dpositions.empty()) return;
    float* dpositions = a.dpositions.data<float>();
    for_rows(state_->threads, time, rows / time * n, [&](std::int64_t t) {
      for (std::int64_t row = t; row < rows; row += time) add_row(dout + row * n, dpositions + t * n, n);
    });
  });
}

}  // namespace trireme
