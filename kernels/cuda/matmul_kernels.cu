#include <algorithm>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matmul_kernels.h"

namespace trireme::cuda {
namespace {

constexpr int threads = 256;

template <typename Bias, typename Out>
__global__ void add_bias_kernel(const Bias* bias, Out* out, std::int64_t count, std::int64_t n) {
  for (std::int64_t i = global_thread(); i < count; i += global_threads())
    out[i] = from_f32<Out>(to_f32(out[i]) + to_f32(bias[i % n]));
}

/// The finaliser of MurmurHash3 (Appleby 2011): every bit of the result depends on every bit of the word.
__device__ __forceinline__ std::uint32_t scramble(std::uint32_t word) {
  word = (word ^ (word >> 16)) * 0x85EBCA6BU;
  word = (word ^ (word >> 13)) * 0xC2B2AE35U;
  return word ^ (word >> 16);
}

template <typename T>
__global__ void fill_kernel(T* out, std::int64_t count, std::int64_t columns, bool sums_run_over_rows,
                            std::int64_t half, bool cancel, std::uint32_t seed) {
  for (std::int64_t i = global_thread(); i < count; i += global_threads()) {
    const std::int64_t row = i / columns;
    const std::int64_t column = i % columns;
    const std::int64_t line = sums_run_over_rows ? column : row;
    const std::int64_t term = sums_run_over_rows ? row : column;
    const std::uint32_t bits =
        scramble(scramble(seed + static_cast<std::uint32_t>(line)) + static_cast<std::uint32_t>(term % half));
    // A random sign, one of the exponents -8 to -1, a random mantissa.
    const std::uint32_t exponent = 126U - ((bits >> 23) & 7U);
    const float value = __uint_as_float((bits & 0x807FFFFFU) | (exponent << 23));
    const bool odd = cancel && line % 2 == 1;
    out[i] = from_f32<T>(!odd || term < half ? value : term < 2 * half ? -value : 0.0F);
  }
}

/// FNV-1a over each thread's share.
__global__ void fingerprint_kernel(const std::uint16_t* words, std::int64_t count, std::int32_t* out) {
  std::uint32_t hash = 0x811C9DC5U;
  for (std::int64_t i = global_thread(); i < count; i += global_threads()) hash = (hash ^ words[i]) * 0x01000193U;
  out[global_thread()] = static_cast<std::int32_t>(hash);
}

std::int64_t words_of(const Tensor& x) { return static_cast<std::int64_t>(x.bytes() / sizeof(std::uint16_t)); }
unsigned fingerprint_blocks(const Tensor& x) { return blocks_for(words_of(x) / 16, threads, 512); }

}  // namespace

void add_bias(const Tensor& bias, Tensor out, cudaStream_t stream) {
  const std::int64_t count = out.elements();
  for_type(bias.dtype(), [&](auto bias_tag) {
    for_type(out.dtype(), [&](auto out_tag) {
      using Bias = decltype(bias_tag);
      using Out = decltype(out_tag);
      launch(add_bias_kernel<Bias, Out>, blocks_for(count, threads), threads, stream, elements_of<Bias>(bias),
             writable<Out>(out), count, bias.elements());
    });
  });
}

void fill_for_trial(Tensor operand, bool sums_run_over_rows, bool cancel, std::uint32_t seed, cudaStream_t stream) {
  const std::int64_t rows = operand.shape().rows();
  const std::int64_t columns = operand.shape().columns();
  const std::int64_t half = std::max<std::int64_t>(1, (sums_run_over_rows ? rows : columns) / 2);
  for_type(operand.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(fill_kernel<T>, blocks_for(rows * columns, threads), threads, stream, writable<T>(operand), rows * columns,
           columns, sums_run_over_rows, half, cancel, seed);
  });
}

std::int64_t fingerprint_size(const Tensor& x) { return static_cast<std::int64_t>(fingerprint_blocks(x)) * threads; }

void fingerprint(const Tensor& x, Tensor out, cudaStream_t stream) {
  launch(fingerprint_kernel, fingerprint_blocks(x), threads, stream, static_cast<const std::uint16_t*>(x.raw()),
         words_of(x), out.data<std::int32_t>());
}

}  // namespace trireme::cuda
