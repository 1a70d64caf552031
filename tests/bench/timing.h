// Time of single operations of a backend.
#pragma once

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "kernels/backend.h"

namespace trireme::bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Least seconds of `work`, of at least three batches and as many as fit a quarter of a second. A GPU gets batches that
/// outlast the waits for it.
template <typename Work>
double seconds_of(Backend& backend, const Work& work) {
  const int batch = backend.kind() == DeviceKind::cuda ? 20 : 1;
  work();
  backend.synchronize();
  double best = std::numeric_limits<double>::infinity();
  const double end = now() + 0.25;
  for (int i = 0; i < 3 || now() < end; ++i) {
    const double begin = now();
    for (int each = 0; each < batch; ++each) work();
    backend.synchronize();
    best = std::min(best, (now() - begin) / batch);
  }
  return best;
}
inline double seconds_of(Backend& backend, const MatmulArgs& args) {
  return seconds_of(backend, [&] { backend.matmul(args); });
}

/// A tensor without zeros or denormals.
inline Tensor filled(Backend& backend, const Shape& shape, DType type) {
  std::vector<float> host(static_cast<std::size_t>(shape.elements()));
  float value = 0.5F;
  for (float& each : host) each = value = value < 1.5F ? value + 0.001F : 0.5F;
  Tensor values = backend.allocate(shape, DType::f32);
  backend.upload(host.data(), values);
  if (type == DType::f32) return values;
  Tensor out = backend.allocate(shape, type);
  backend.cast(values, out);
  return out;
}

}  // namespace trireme::bench
