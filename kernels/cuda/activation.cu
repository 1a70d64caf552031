// Activations and SwiGLU.
#include "kernels/cuda/device.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

/// Relative error below (4 + 1.2 |x|) 2^-24 for x < 0 and 2^-22 above: __expf, of few instructions, is enough.
__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0F, 1.0F + __expf(-x)); }

struct Identity {
  static __device__ __forceinline__ float value(float x) { return x; }
  static __device__ __forceinline__ float derivative(float /*x*/) { return 1.0F; }
};

/// gelu(x) = x (1 + tanh u) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks and Gimpel 2016).
struct Gelu {
  static constexpr float linear = 1.59576912F;  // 2 sqrt(2 / pi)
  static constexpr float cubic = linear * 0.044715F;
  static __device__ __forceinline__ float value(float x) { return x * sigmoid(x * (linear + cubic * x * x)); }
  static __device__ __forceinline__ float derivative(float x) {
    const float s = sigmoid(x * (linear + cubic * x * x));
    const float slope = s * (1.0F - s) * (linear + 3.0F * cubic * x * x);
    return s + (slope > 0.0F ? x * slope : 0.0F);  // far out the slope is 0 and x * x may be infinite
  }
};

/// silu(x) = x sigmoid(x).
struct Silu {
  static __device__ __forceinline__ float value(float x) { return x * sigmoid(x); }
  static __device__ __forceinline__ float derivative(float x) {
    const float s = sigmoid(x);
    return s + x * s * (1.0F - s);
  }
};

/// relu(x) = max(x, 0) (Nair and Hinton 2010); not a number stays that, and lets its gradient through.
struct Relu {
  static __device__ __forceinline__ float value(float x) { return x < 0.0F ? 0.0F : x; }
  static __device__ __forceinline__ float derivative(float x) { return x <= 0.0F ? 0.0F : 1.0F; }
};

/// hard_swish(x) = x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019).
struct HardSwish {
  static __device__ __forceinline__ float value(float x) {
    return x * (x < -3.0F ? 0.0F : x > 3.0F ? 1.0F : x * (1.0F / 6.0F) + 0.5F);
  }
  static __device__ __forceinline__ float derivative(float x) {
    return x < -3.0F ? 0.0F : x > 3.0F ? 1.0F : x * (1.0F / 3.0F) + 0.5F;
  }
};

/// Calls body with a value of the function object that `activation` names.
template <typename Body>
void for_activation(Activation activation, const Body& body) {
  switch (activation) {
    case Activation::none:
      return body(Identity{});
    case Activation::gelu:
      return body(Gelu{});
    case Activation::silu:
      return body(Silu{});
    case Activation::relu:
      return body(Relu{});
    case Activation::hard_swish:
      return body(HardSwish{});
  }
}

template <typename T, typename Function>
struct Activate {
  const T* x;
  T* y;
  template <int width>
  using Inputs = Piece<T, width>;
  template <int width>
  __device__ Piece<T, width> load(std::int64_t at) const {
    return load_piece<width>(x + at);
  }
  template <int width>
  __device__ void store(std::int64_t at, const Piece<T, width>& in) const {
    Piece<T, width> result;
    for (int i = 0; i < width; ++i) result.values[i] = from_f32<T>(Function::value(to_f32(in.values[i])));
    store_piece(y + at, result);
  }
};

template <typename T, typename Function>
struct ActivateBackward {
  const T* x;
  const T* dy;
  T* dx;
  template <int width>
  struct Inputs {
    Piece<T, width> x, dy;
  };
  template <int width>
  __device__ Inputs<width> load(std::int64_t at) const {
    return {load_piece<width>(x + at), load_piece<width>(dy + at)};
  }
  template <int width>
  __device__ void store(std::int64_t at, const Inputs<width>& in) const {
    Piece<T, width> result;
    for (int i = 0; i < width; ++i)
      result.values[i] = from_f32<T>(to_f32(in.dy.values[i]) * Function::derivative(to_f32(in.x.values[i])));
    store_piece(dx + at, result);
  }
};

/// Goes over the elements of y: element i of row r has its gate at x[2 r n + i] and its other half n after it.
template <typename T>
struct Swiglu {
  const T* x;
  T* y;
  std::int64_t n;
  template <int width>
  struct Inputs {
    Piece<T, width> gate, up;
  };
  template <int width>
  __device__ Inputs<width> load(std::int64_t at) const {
    const T* gate = x + at + quotient(at, n) * n;
    return {load_piece<width>(gate), load_piece<width>(gate + n)};
  }
  template <int width>
  __device__ void store(std::int64_t at, const Inputs<width>& in) const {
    Piece<T, width> result;
    for (int i = 0; i < width; ++i)
      result.values[i] = from_f32<T>(Silu::value(to_f32(in.gate.values[i])) * to_f32(in.up.values[i]));
    store_piece(y + at, result);
  }
};

template <typename T>
struct SwigluBackward {
  Swiglu<T> forward;
  const T* dy;
  T* dx;
  template <int width>
  struct Inputs {
    typename Swiglu<T>::template Inputs<width> x;
    Piece<T, width> dy;
  };
  template <int width>
  __device__ Inputs<width> load(std::int64_t at) const {
    return {forward.template load<width>(at), load_piece<width>(dy + at)};
  }
  template <int width>
  __device__ void store(std::int64_t at, const Inputs<width>& in) const {
    Piece<T, width> dgate;
    Piece<T, width> dup;
    for (int i = 0; i < width; ++i) {
      const float gate = to_f32(in.x.gate.values[i]);
      const float gradient = to_f32(in.dy.values[i]);
      dgate.values[i] = from_f32<T>(gradient * to_f32(in.x.up.values[i]) * Silu::derivative(gate));
      dup.values[i] = from_f32<T>(gradient * Silu::value(gate));
    }
    T* to = dx + at + quotient(at, forward.n) * forward.n;
    store_piece(to, dgate);
    store_piece(to + forward.n, dup);
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::activate(Activation activation, const Tensor& x, Tensor y) {
  expect_elements("activate y", y, x.elements());
  for_type(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    for_activation(activation, [&](auto function) {
      const Activate<T, decltype(function)> operation = {elements_of<T>(x), writable<T>(y)};
      for_elements<Pack<T>::size>(state_->compute.get(), x.elements(), at_packs({operation.x, operation.y}), operation);
    });
  });
}

void CudaBackend::activate_backward(Activation activation, const Tensor& x, const Tensor& dy, Tensor dx) {
  expect_elements("activate dy", dy, x.elements());
  expect_elements("activate dx", dx, x.elements());
  for_type(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    for_activation(activation, [&](auto function) {
      const ActivateBackward<T, decltype(function)> operation = {elements_of<T>(x), elements_of<T>(dy),
                                                                 writable<T>(dx)};
      for_elements<Pack<T>::size>(state_->compute.get(), x.elements(),
                                  at_packs({operation.x, operation.dy, operation.dx}), operation);
    });
  });
}

void CudaBackend::swiglu(const Tensor& x, Tensor y) {
  const std::int64_t rows = x.shape().rows();
  const std::int64_t n = x.shape().columns() / 2;
  expect_elements("swiglu x", x, rows * 2 * n);
  expect_elements("swiglu y", y, rows * n);
  for_type(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Swiglu<T> operation = {elements_of<T>(x), writable<T>(y), n};
    for_elements<Pack<T>::size>(state_->compute.get(), rows * n, packs<T>(n) && at_packs({operation.x, operation.y}),
                                operation);
  });
}

void CudaBackend::swiglu_backward(const Tensor& x, const Tensor& dy, Tensor dx) {
  const std::int64_t rows = x.shape().rows();
  const std::int64_t n = x.shape().columns() / 2;
  expect_elements("swiglu x", x, rows * 2 * n);
  expect_elements("swiglu dy", dy, rows * n);
  expect_elements("swiglu dx", dx, rows * 2 * n);
  for_type(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const SwigluBackward<T> operation = {{elements_of<T>(x), nullptr, n}, elements_of<T>(dy), writable<T>(dx)};
    for_elements<Pack<T>::size>(state_->compute.get(), rows * n,
                                packs<T>(n) && at_packs({operation.forward.x, operation.dy, operation.dx}), operation);
  });
}

}  // namespace trireme
