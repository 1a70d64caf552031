#include <bit>
#include <utility>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/token_sort.h"

namespace trireme::cuda {
namespace {

constexpr int digit_bits = 8;
constexpr int digits = 1 << digit_bits;  ///< as many as threads of a block: each thread cares for one digit
constexpr int chunk_rows = 1024;         ///< of a block

/// What a pass reads: tokens in the first (then keys and rows are null), else what the pass before wrote.
struct Source {
  const std::int32_t* tokens;
  std::int64_t first_token, vocabulary;
  SortedTokens sorted;

  __device__ __forceinline__ std::int32_t key(std::int64_t i) const {
    if (sorted.keys != nullptr) return sorted.keys[i];
    const std::int64_t token = tokens[i] - first_token;
    return static_cast<std::int32_t>(token >= 0 && token < vocabulary ? token : vocabulary);
  }
  __device__ __forceinline__ std::int32_t row(std::int64_t i) const {
    return sorted.rows != nullptr ? sorted.rows[i] : static_cast<std::int32_t>(i);
  }
};

/// Reads the keys of this block's chunk and returns how many there are.
__device__ __forceinline__ int load_keys(const Source& source, std::int64_t rows, std::int32_t* keys) {
  const std::int64_t first = std::int64_t{blockIdx.x} * chunk_rows;
  const int count = static_cast<int>(rows - first < chunk_rows ? rows - first : chunk_rows);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += digits) keys[i] = source.key(first + i);
  __syncthreads();
  return count;
}

__device__ __forceinline__ int digit_of(std::int32_t key, int shift) { return (key >> shift) % digits; }

/// counts [chunks, digits]: how often every digit stands in every chunk.
__global__ void __launch_bounds__(digits)
    count_digits(Source source, std::int64_t rows, int shift, std::int32_t* counts) {
  __shared__ std::int32_t keys[chunk_rows];
  const int count = load_keys(source, rows, keys);
  const int digit = static_cast<int>(threadIdx.x);
  int found = 0;
  for (int i = 0; i < count; ++i) found += digit_of(keys[i], shift) == digit ? 1 : 0;
  counts[std::int64_t{blockIdx.x} * digits + digit] = found;
}

/// Every thread walks the chunk and moves the keys of its digit to their places: behind those of lower digits, and of
/// the same digit in earlier chunks.
__global__ void __launch_bounds__(digits)
    move_keys(Source source, std::int64_t rows, int shift, const std::int32_t* counts, SortedTokens to) {
  __shared__ std::int32_t keys[chunk_rows];
  __shared__ std::int32_t totals[digits];
  const int digit = static_cast<int>(threadIdx.x);
  int before = 0;
  int total = 0;
  for (unsigned chunk = 0; chunk < gridDim.x; ++chunk) {
    const int found = counts[std::int64_t{chunk} * digits + digit];
    if (chunk < blockIdx.x) before += found;
    total += found;
  }
  totals[digit] = total;
  const int count = load_keys(source, rows, keys);  // and the totals are there
  std::int64_t place = before;
  for (int lower = 0; lower < digit; ++lower) place += totals[lower];
  const std::int64_t first = std::int64_t{blockIdx.x} * chunk_rows;
  for (int i = 0; i < count; ++i) {
    if (digit_of(keys[i], shift) != digit) continue;
    to.keys[place] = keys[i];
    to.rows[place++] = source.row(first + i);
  }
}

}  // namespace

TokenSort::TokenSort(Backend& backend, cudaStream_t stream, const Tensor& tokens, std::int64_t first_token,
                     std::int64_t vocabulary) {
  const std::int64_t rows = tokens.elements();
  const unsigned chunks = blocks_for(rows, chunk_rows, rows);
  scratch_ = backend.allocate({2, 2, rows}, DType::i32);
  Tensor counts = backend.allocate({chunks, digits}, DType::i32);
  auto* memory = scratch_.data<std::int32_t>();
  SortedTokens next{memory + 2 * rows, memory + 3 * rows};
  sorted_ = {memory, memory + rows};
  Source source{tokens.data<std::int32_t>(), first_token, vocabulary, {nullptr, nullptr}};
  const int bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(vocabulary) | 1U));
  for (int shift = 0; shift < bits; shift += digit_bits) {
    launch(count_digits, chunks, digits, stream, source, rows, shift, counts.data<std::int32_t>());
    launch(move_keys, chunks, digits, stream, source, rows, shift, counts.data<std::int32_t>(), next);
    source.sorted = next;
    std::swap(sorted_, next);
  }
}

}  // namespace trireme::cuda
