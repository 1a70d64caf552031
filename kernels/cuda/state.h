// What the CUDA backend owns. Seen only by its own sources.
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/runtime.h"

namespace trireme {

/// Pinned memory that transfers go through, piece by piece.
struct StagingSlot {
  static constexpr std::size_t bytes = std::size_t{4} << 20;
  PoolBlock memory;
  cuda::Event done = cuda::make_event();  ///< recorded behind the last transfer
};

struct CudaBackend::State {
  explicit State(int number) : device(number), memory(cuda::make_device_memory(number)) {}

  /// Returns when the event is done; calls the check of `on_wait` meanwhile.
  void wait(cudaEvent_t event) const;
  StagingSlot& next_slot();

  int device;
  CudaOptions options;
  MemoryPool memory;
  MemoryPool pinned{cuda::make_pinned_memory()};
  MemoryPool* recording = nullptr;             ///< where memory comes from while work is recorded
  std::weak_ptr<MemoryPool> recording_memory;  ///< of the recordings that there are
  cuda::Stream compute = cuda::make_stream();
  cuda::Stream copy = cuda::make_stream();
  cuda::Event order_event = cuda::make_event();  ///< for cuda::order
  cuda::Event finished = cuda::make_event();
  std::array<StagingSlot, 4> staging;
  std::size_t next_staging = 0;
  std::function<void()> check_while_waiting;
  cuda::CublasLt cublaslt;
  cuda::Cudnn cudnn;
};

}  // namespace trireme
