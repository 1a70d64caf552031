// Dropout, addition, conversion, pixels and clearing.
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"
#include "kernels/philox.h"
#include "kernels/pixel_scale.h"

namespace trireme {
namespace {

/// Elements of dropout whose random words are made together; a multiple of what the vector loop takes.
constexpr std::int64_t dropout_block = 1024;
constexpr std::int64_t lanes = 8;
using DropoutWords = std::array<std::uint32_t, dropout_block + 4 * lanes>;

/// Words of at least dropout_block + 4 elements from group `counter` on: philox() for `lanes` groups side by side.
void fill_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter, DropoutWords& words) {
  std::uint32_t* out = words.data();
  for (std::size_t first = 0; first < words.size() / 4; first += lanes) {
#pragma omp simd simdlen(8)
    for (std::size_t lane = 0; lane < static_cast<std::size_t>(lanes); ++lane) {
      const auto group = philox(seed, stream, counter + first + lane);
      out[4 * (first + lane)] = group[0];
      out[4 * (first + lane) + 1] = group[1];
      out[4 * (first + lane) + 2] = group[2];
      out[4 * (first + lane) + 3] = group[3];
    }
  }
}

template <typename T>
void add_elements(int threads, std::int64_t count, const T* x, const T* y, T* out) {
  for_elements(threads, count, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) store(out[i], load(x[i]) + load(y[i]));
  });
}

template <typename From, typename To>
void convert(int threads, const Tensor& from, Tensor& to) {
  const From* in = from.data<From>();
  To* out = to.data<To>();
  for_elements(threads, from.elements(), [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) store(out[i], load(in[i]));
  });
}

template <typename T>
void normalise(int threads, const PixelsArgs& args, const PixelScale& scale) {
  const std::uint8_t* x = args.x.data<std::uint8_t>();
  Tensor result = args.y;
  T* y = result.data<T>();
  const std::int64_t channels = scale.channels;
  for_elements(threads, args.x.elements() / channels, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      const float slope = scale.slope[channel];
      const float offset = scale.offset[channel];
#pragma omp simd
      for (std::int64_t i = begin * channels + channel; i < end * channels; i += channels)
        store(y[i], static_cast<float>(x[i]) * slope + offset);
    }
  });
}

constexpr std::int64_t bytes_per_block = 65536;

void copy_bytes(int threads, const void* from, void* to, std::size_t bytes) {
  for_blocks(threads, static_cast<std::int64_t>(bytes), bytes_per_block, [=](std::int64_t begin, std::int64_t end) {
    std::memmove(static_cast<std::byte*>(to) + begin, static_cast<const std::byte*>(from) + begin,
                 static_cast<std::size_t>(end - begin));
  });
}

}  // namespace

void CpuBackend::dropout(const DropoutArgs& args) {
  const std::int64_t count = args.x.elements();
  expect_elements("dropout out", args.out, count);
  if (!args.residual.empty()) expect_elements("dropout residual", args.residual, count);
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* x = args.x.data<T>();
    const T* residual = data_or_null<T>(args.residual);
    Tensor result = args.out;
    T* out = result.data<T>();
    if (args.probability == 0.0F) {
      if (residual != nullptr) return add_elements(state_->threads, count, x, residual, out);
      if (x != out) copy_bytes(state_->threads, x, out, args.x.bytes());
      return;
    }
    const float probability = args.probability;
    const float scale = probability < 1.0F ? 1.0F / (1.0F - probability) : 0.0F;
    for_blocks(state_->threads, count, dropout_block, [&](std::int64_t begin, std::int64_t end) {
      DropoutWords words;
      const std::uint64_t first = args.first_element + static_cast<std::uint64_t>(begin);
      fill_words(args.seed, args.stream, first / 4, words);
      const std::int64_t shift = static_cast<std::int64_t>(first % 4) - begin;
      const std::uint32_t* word = words.data();
      const auto factor = [=](std::int64_t i) { return uniform_float(word[shift + i]) >= probability ? scale : 0.0F; };
      if (residual != nullptr) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(out[i], load(residual[i]) + load(x[i]) * factor(i));
      } else {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(out[i], load(x[i]) * factor(i));
      }
    });
  });
}

void CpuBackend::add(const Tensor& x, const Tensor& y, Tensor out) {
  expect_elements("add y", y, x.elements());
  expect_elements("add out", out, x.elements());
  if (x.dtype() == DType::f64) {  // sums that are read by people: a few numbers
    std::transform(x.data<double>(), x.data<double>() + x.elements(), y.data<double>(), out.data<double>(),
                   std::plus<>());
    return;
  }
  for_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    add_elements(state_->threads, x.elements(), x.data<T>(), y.data<T>(), out.data<T>());
  });
}

void CpuBackend::cast(const Tensor& from, Tensor to) {
  expect_elements("cast to", to, from.elements());
  if (from.dtype() == to.dtype())
    copy_bytes(state_->threads, from.raw(), to.raw(), from.bytes());
  else if (from.dtype() == DType::f32 && to.dtype() == DType::bf16)
    convert<float, bfloat16>(state_->threads, from, to);
  else if (from.dtype() == DType::bf16 && to.dtype() == DType::f32)
    convert<bfloat16, float>(state_->threads, from, to);
  else
    fail("cast from {} to {} is not defined", name_of(from.dtype()), name_of(to.dtype()));
}

void CpuBackend::normalise_pixels(const PixelsArgs& args) {
  const PixelScale scale = scale_of(args);
  for_type(args.y.dtype(), [&](auto type) { normalise<decltype(type)>(state_->threads, args, scale); });
}

void CpuBackend::zero(Tensor out) {
  auto* bytes = static_cast<std::byte*>(out.raw());
  for_blocks(state_->threads, static_cast<std::int64_t>(out.bytes()), bytes_per_block,
             [=](std::int64_t begin, std::int64_t end) {
               std::memset(bytes + begin, 0, static_cast<std::size_t>(end - begin));
             });
}

}  // namespace trireme
