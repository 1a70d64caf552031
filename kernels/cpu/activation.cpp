// Activations, SwiGLU and softmax.
#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

struct Identity {
  static float value(float x) { return x; }
  static float derivative(float) { return 1.0F; }
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
  fail("unknown activation {}", static_cast<int>(activation));
}

template <typename T>
void swiglu_row(const T* gate, const T* up, T* y, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) store(y[i], Silu::value(load(gate[i])) * load(up[i]));
}

template <typename T>
void swiglu_backward_row(const T* x, const T* dy, T* dx, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const float gate = load(x[i]);
    const float up = load(x[n + i]);
    const float gradient = load(dy[i]);
    store(dx[i], gradient * up * Silu::derivative(gate));
    store(dx[n + i], gradient * Silu::value(gate));
  }
}

}  // namespace

void CpuBackend::activate(Activation activation, const Tensor& x, Tensor y) {
  expect_elements("activate y", y, x.elements());
  for_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.data<T>();
    T* out = y.data<T>();
    for_activation(activation, [&](auto function) {
      for_elements(state_->threads, x.elements(), [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(out[i], function.value(load(in[i])));
      });
    });
  });
}

void CpuBackend::activate_backward(Activation activation, const Tensor& x, const Tensor& dy, Tensor dx) {
  expect_elements("activate dy", dy, x.elements());
  expect_elements("activate dx", dx, x.elements());
  for_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.data<T>();
    const T* gradient = dy.data<T>();
    T* out = dx.data<T>();
    for_activation(activation, [&](auto function) {
      for_elements(state_->threads, x.elements(), [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(out[i], load(gradient[i]) * function.derivative(load(in[i])));
      });
    });
  });
}

void CpuBackend::swiglu(const Tensor& x, Tensor y) {
  const std::int64_t rows = x.shape().rows();
  const std::int64_t n = x.shape().columns() / 2;
  expect_elements("swiglu x", x, rows * 2 * n);
  expect_elements("swiglu y", y, rows * n);
  for_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.data<T>();
    T* out = y.data<T>();
    for_rows(state_->threads, rows, n, [=](std::int64_t row) {
      const T* gate = in + row * 2 * n;
      swiglu_row(gate, gate + n, out + row * n, n);
    });
  });
}

void CpuBackend::swiglu_backward(const Tensor& x, const Tensor& dy, Tensor dx) {
  const std::int64_t rows = x.shape().rows();
  const std::int64_t n = x.shape().columns() / 2;
  expect_elements("swiglu dy", dy, rows * n);
  expect_elements("swiglu dx", dx, rows * 2 * n);
  for_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.data<T>();
    const T* gradient = dy.data<T>();
    T* out = dx.data<T>();
    for_rows(state_->threads, rows, n, [=](std::int64_t row) {
      swiglu_backward_row(in + row * 2 * n, gradient + row * n, out + row * 2 * n, n);
    });
  });
}

void CpuBackend::softmax(const Tensor& x, Tensor y) {
  const std::int64_t rows = x.shape().rows();
  const std::int64_t n = x.shape().columns();
  expect_elements("softmax y", y, rows * n);
  for_type(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.data<T>();
    T* out = y.data<T>();
    for_rows(state_->threads, rows, n, [=](std::int64_t row) {
      const T* from = in + row * n;
      T* to = out + row * n;
      const RowStatistics statistics = row_statistics(from, n);
      const float scale = 1.0F / statistics.sum;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) store(to[i], exp_vector(load(from[i]) - statistics.maximum) * scale);
    });
  });
}

}  // namespace trireme
