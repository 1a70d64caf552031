#include "kernels/cuda/runtime.h"

#include <string>

#include "kernels/error.h"

namespace trireme::cuda {
namespace {

class DeviceMemory final : public MemorySource {
 public:
  explicit DeviceMemory(int device) : device_(device) {}
  void* allocate(std::size_t bytes) override {
    TRIREME_CUDA(cudaSetDevice(device_));  // any thread may come here
    void* memory = nullptr;
    if (cudaMalloc(&memory, bytes) == cudaSuccess) return memory;
    static_cast<void>(cudaGetLastError());  // the failure is told here; it must not be found by the next call
    std::size_t free = 0;
    std::size_t total = 0;
    static_cast<void>(cudaMemGetInfo(&free, &total));
    fail("the GPU has no {} MiB left ({} of {} MiB are free): use a smaller train.micro_batch or more ranks",
         (bytes >> 20U) + 1, free >> 20U, total >> 20U);
  }
  void release(void* memory, std::size_t /*bytes*/) noexcept override { static_cast<void>(cudaFree(memory)); }

 private:
  int device_;
};

class PinnedMemory final : public MemorySource {
 public:
  void* allocate(std::size_t bytes) override {
    void* memory = nullptr;
    if (cudaMallocHost(&memory, bytes) == cudaSuccess) return memory;
    static_cast<void>(cudaGetLastError());
    fail("no {} MiB of pinned host memory: see the limit on locked memory (ulimit -l)", (bytes >> 20U) + 1);
  }
  void release(void* memory, std::size_t /*bytes*/) noexcept override { static_cast<void>(cudaFreeHost(memory)); }
};

}  // namespace

void check(cudaError_t status, const char* expression, std::source_location where) {
  if (status == cudaSuccess) return;
  throw Error(fmt::format("{}: {} ({})", expression, cudaGetErrorString(status), cudaGetErrorName(status)),
              ExitStatus::failed, where);
}

void expect_elements(const char* what, const Tensor& tensor, std::int64_t elements) {
  if (tensor.elements() != elements) fail("{} has {} elements, expected {}", what, tensor.elements(), elements);
}

void wrong_type(const char* expected, DType found) { fail("a kernel wants {}, not {}", expected, name_of(found)); }

Stream make_stream(int priority) {
  Stream stream;
  TRIREME_CUDA(cudaStreamCreateWithPriority(stream.put(), cudaStreamNonBlocking, priority));
  return stream;
}

Event make_event() {
  Event event;
  TRIREME_CUDA(cudaEventCreateWithFlags(event.put(), cudaEventDisableTiming));
  return event;
}

Event make_timed_event() {
  Event event;
  TRIREME_CUDA(cudaEventCreate(event.put()));
  return event;
}

void order(cudaStream_t earlier, cudaStream_t later, cudaEvent_t event) {
  TRIREME_CUDA(cudaEventRecord(event, earlier));
  TRIREME_CUDA(cudaStreamWaitEvent(later, event, 0));
}

std::unique_ptr<MemorySource> make_device_memory(int device) { return std::make_unique<DeviceMemory>(device); }
std::unique_ptr<MemorySource> make_pinned_memory() { return std::make_unique<PinnedMemory>(); }

}  // namespace trireme::cuda
