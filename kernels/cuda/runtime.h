// The CUDA runtime as this program sees it: one checked wrapper, and owners of its handles.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <utility>

#include "kernels/tensor.h"

namespace trireme::cuda {

/// Throws an Error that names the expression and what CUDA said.
void check(cudaError_t status, const char* expression, std::source_location where = std::source_location::current());

#define TRIREME_CUDA(call) ::trireme::cuda::check((call), #call)

/// What fails where .cu files check their arguments: "norm: mean has 3 elements, expected 4".
void expect_elements(const char* what, const Tensor& tensor, std::int64_t elements);
[[noreturn]] void wrong_type(const char* expected, DType found);

/// Owns a handle of type T; `Destroy` takes it back.
template <typename T, auto Destroy>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T value) : value_(value) {}
  Handle(Handle&& other) noexcept : value_(std::exchange(other.value_, T{})) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Handle() {
    if (value_) static_cast<void>(Destroy(value_));
  }
  T get() const { return value_; }
  /// For calls that make a handle through a pointer.
  T* put() { return &value_; }

 private:
  T value_{};
};

using Stream = Handle<cudaStream_t, cudaStreamDestroy>;
using Event = Handle<cudaEvent_t, cudaEventDestroy>;

/// A stream that does not wait for the default stream. priority: lower numbers go first; 0 is the lowest.
Stream make_stream(int priority = 0);
/// An event without a time, and one with.
Event make_event();
Event make_timed_event();
/// Work enqueued on `later` from now on begins when what is enqueued on `earlier` so far is done. `event` is reused.
void order(cudaStream_t earlier, cudaStream_t later, cudaEvent_t event);

/// Memory of a device, and pinned host memory, for a MemoryPool.
std::unique_ptr<MemorySource> make_device_memory(int device);
std::unique_ptr<MemorySource> make_pinned_memory();

}  // namespace trireme::cuda
