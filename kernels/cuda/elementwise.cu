// Dropout, addition, conversion, pixels and clearing.
#include <algorithm>
#include <cmath>

#include "kernels/cuda/device.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/state.h"
#include "kernels/philox.h"
#include "kernels/pixel_scale.h"

namespace trireme {
namespace cuda {
namespace {

template <typename T>
__device__ __forceinline__ T sum_of(T x, T y) {
  return from_f32<T>(to_f32(x) + to_f32(y));
}
template <>
__device__ __forceinline__ double sum_of(double x, double y) {
  return x + y;
}

template <typename T>
struct Add {
  const T* x;
  const T* y;
  T* out;
  template <int width>
  struct Inputs {
    Piece<T, width> x, y;
  };
  template <int width>
  __device__ Inputs<width> load(std::int64_t at) const {
    return {load_piece<width>(x + at), load_piece<width>(y + at)};
  }
  template <int width>
  __device__ void store(std::int64_t at, const Inputs<width>& in) const {
    Piece<T, width> result;
    for (int i = 0; i < width; ++i) result.values[i] = sum_of(in.x.values[i], in.y.values[i]);
    store_piece(out + at, result);
  }
};

template <typename From, typename To>
struct Convert {
  const From* from;
  To* to;
  template <int width>
  using Inputs = Piece<From, width>;
  template <int width>
  __device__ Piece<From, width> load(std::int64_t at) const {
    return load_piece<width>(from + at);
  }
  template <int width>
  __device__ void store(std::int64_t at, const Piece<From, width>& in) const {
    Piece<To, width> result;
    for (int i = 0; i < width; ++i) result.values[i] = from_f32<To>(to_f32(in.values[i]));
    store_piece(to + at, result);
  }
};

template <typename T>
struct NormalisePixels {
  const std::uint8_t* x;
  PixelScale scale;
  T* y;
  template <int width>
  using Inputs = Piece<std::uint8_t, width>;
  template <int width>
  __device__ Inputs<width> load(std::int64_t at) const {
    return load_piece<width>(x + at);
  }
  template <int width>
  __device__ void store(std::int64_t at, const Inputs<width>& in) const {
    int channel = static_cast<int>(at - quotient(at, scale.channels) * scale.channels);
    Piece<T, width> result;
    for (int i = 0; i < width; ++i) {
      // A choice, not an index: parameters that are indexed at run time leave their registers.
      const float slope = channel == 0 ? scale.slope[0] : channel == 1 ? scale.slope[1] : scale.slope[2];
      const float offset = channel == 0 ? scale.offset[0] : channel == 1 ? scale.offset[1] : scale.offset[2];
      result.values[i] = from_f32<T>(fmaf(static_cast<float>(in.values[i]), slope, offset));
      channel = channel + 1 == scale.channels ? 0 : channel + 1;
    }
    store_piece(y + at, result);
  }
};

template <typename T>
struct Dropout {
  const T* x;
  const T* residual;
  T* out;
  std::uint32_t first_kept;  ///< random words from here on keep their element
  float scale;
  std::uint64_t seed, stream, first_element;
  template <int width>
  struct Inputs {
    Piece<T, width> x, residual;
  };
  template <int width>
  __device__ Inputs<width> load(std::int64_t at) const {
    return {load_piece<width>(x + at), load_piece_or_zero<width>(residual, at)};
  }
  /// Larger pieces begin at positions that are multiples of 4, where philox's groups of words begin.
  template <int width>
  __device__ void store(std::int64_t at, const Inputs<width>& in) const {
    const std::uint64_t position = first_element + static_cast<std::uint64_t>(at);
    Piece<T, width> result;
    for (int first = 0; first < width; first += 4) {
      const auto words = philox(seed, stream, position / 4 + static_cast<std::uint64_t>(first / 4));
      for (int i = first; i < width && i < first + 4; ++i) {
        const std::uint32_t word = words[width == 1 ? position % 4 : static_cast<std::uint64_t>(i - first)];
        const float factor = word >= first_kept ? scale : 0.0F;
        const float value = to_f32(in.x.values[i]);
        // Said, not left to the compiler, which does not contract all widths alike.
        result.values[i] =
            from_f32<T>(residual != nullptr ? fmaf(value, factor, to_f32(in.residual.values[i])) : value * factor);
      }
    }
    store_piece(out + at, result);
  }
};

/// The first word of which uniform_float is at least `probability` < 1: that has the word's upper 24 bits.
std::uint32_t first_kept_word(float probability) {
  return static_cast<std::uint32_t>(std::min(std::ceil(probability * 0x1p24F), 0x1p24F - 1.0F)) << 8U;
}

template <typename T>
void add_elements(cudaStream_t stream, std::int64_t count, const T* x, const T* y, T* out) {
  for_elements<Pack<T>::size>(stream, count, at_packs({x, y, out}), Add<T>{x, y, out});
}

/// Four elements at a time: 16 bytes on one side and 8 on the other, without gaps between neighbouring threads.
template <typename From, typename To>
void convert(cudaStream_t stream, const Tensor& from, const Tensor& to) {
  const From* in = elements_of<From>(from);
  To* out = writable<To>(to);
  for_elements<4>(stream, from.elements(), at_packs({in, out}), Convert<From, To>{in, out});
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::add(const Tensor& x, const Tensor& y, Tensor out) {
  expect_elements("add y", y, x.elements());
  expect_elements("add out", out, x.elements());
  const cudaStream_t stream = state_->compute.get();
  if (x.dtype() == DType::f64)
    return add_elements(stream, x.elements(), x.data<double>(), y.data<double>(), out.data<double>());
  for_type(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    add_elements(stream, x.elements(), elements_of<T>(x), elements_of<T>(y), writable<T>(out));
  });
}

void CudaBackend::cast(const Tensor& from, Tensor to) {
  expect_elements("cast to", to, from.elements());
  const cudaStream_t stream = state_->compute.get();
  if (from.dtype() == to.dtype()) {
    if (from.elements() == 0 || from.raw() == to.raw()) return;
    TRIREME_CUDA(cudaMemcpyAsync(to.raw(), from.raw(), from.bytes(), cudaMemcpyDeviceToDevice, stream));
  } else if (from.dtype() == DType::f32) {
    convert<float, __nv_bfloat16>(stream, from, to);
  } else {
    convert<__nv_bfloat16, float>(stream, from, to);
  }
}

void CudaBackend::normalise_pixels(const PixelsArgs& args) {
  const PixelScale scale = scale_of(args);
  for_type(args.y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const NormalisePixels<T> o = {args.x.data<std::uint8_t>(), scale, writable<T>(args.y)};
    for_elements<Pack<T>::size>(state_->compute.get(), args.x.elements(), at_packs({o.x, o.y}), o);
  });
}

void CudaBackend::zero(Tensor out) {
  if (out.elements() > 0) TRIREME_CUDA(cudaMemsetAsync(out.raw(), 0, out.bytes(), state_->compute.get()));
}

void CudaBackend::dropout(const DropoutArgs& args) {
  const std::int64_t count = args.x.elements();
  expect_elements("dropout out", args.out, count);
  if (!args.residual.empty()) expect_elements("dropout residual", args.residual, count);
  if (args.probability == 0.0F)
    return args.residual.empty() ? cast(args.x, args.out) : add(args.x, args.residual, args.out);
  for_type(args.x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Dropout<T> operation = {.x = elements_of<T>(args.x),
                                  .residual = elements_of<T>(args.residual),
                                  .out = writable<T>(args.out),
                                  .first_kept = first_kept_word(args.probability),
                                  .scale = args.probability < 1.0F ? 1.0F / (1.0F - args.probability) : 0.0F,
                                  .seed = args.seed,
                                  .stream = args.stream,
                                  .first_element = args.first_element};
    const bool packed = at_packs({operation.x, operation.residual, operation.out}) && args.first_element % 4 == 0;
    for_elements<Pack<T>::size>(state_->compute.get(), count, packed, operation);
  });
}

}  // namespace trireme
