#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "kernels/activity.h"
#include "kernels/cuda/state.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using Graph = cuda::Handle<cudaGraph_t, cudaGraphDestroy>;
using GraphExec = cuda::Handle<cudaGraphExec_t, cudaGraphExecDestroy>;

/// A CUDA graph and the memory that its work lives in. Recordings run one after the other, so they share it.
class GraphRecording final : public Recording {
 public:
  GraphRecording(std::shared_ptr<MemoryPool> memory, cudaStream_t stream)
      : memory_(std::move(memory)), stream_(stream) {}
  void keep(const Graph& graph) { TRIREME_CUDA(cudaGraphInstantiate(exec_.put(), graph.get(), 0)); }
  void replay() override { TRIREME_CUDA(cudaGraphLaunch(exec_.get(), stream_)); }

 private:
  std::shared_ptr<MemoryPool> memory_;
  cudaStream_t stream_;
  GraphExec exec_;
};

/// Selects the device first: what State makes belongs to the current one.
int selected(int device) {
  const int devices = cuda_device_count();
  if (device < 0 || device >= devices)
    refuse("train.device=cuda: GPU {} does not exist; CUDA sees {} (is a driver installed, what says nvidia-smi?)",
           device, devices == 0 ? "none" : fmt::format("{}", devices));
  TRIREME_CUDA(cudaSetDevice(device));
  return device;
}

}  // namespace

/// Marks are events of the compute stream.
class CudaBackend::EventTimeline final : public Timeline {
 public:
  explicit EventTimeline(const State& state) : state_(state) {}
  void mark(std::size_t number) override {
    while (events_.size() <= number) events_.push_back(cuda::make_timed_event());
    // External: a replay records the event itself; captured plainly it would only tell where to wait in the graph.
    const unsigned flags = state_.recording != nullptr ? cudaEventRecordExternal : cudaEventRecordDefault;
    TRIREME_CUDA(cudaEventRecordWithFlags(events_[number].get(), state_.compute.get(), flags));
  }
  double seconds(std::size_t from, std::size_t to) const override {
    float milliseconds = 0;
    TRIREME_CUDA(cudaEventElapsedTime(&milliseconds, events_.at(from).get(), events_.at(to).get()));
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  const State& state_;
  std::vector<cuda::Event> events_;
};

void CudaBackend::State::wait(cudaEvent_t event) const {
  // A poll, not cudaEventSynchronize: a collective that a dead peer keeps waiting never ends.
  constexpr int eager_polls = 2000;
  std::optional<Activity> activity;
  for (int poll = 0;; ++poll) {
    const cudaError_t status = cudaEventQuery(event);
    if (status == cudaSuccess) return;
    if (status != cudaErrorNotReady) cuda::check(status, "cudaEventQuery(event)");
    if (poll < eager_polls) continue;
    if (!activity) activity.emplace("waiting for the GPU");
    if (check_while_waiting) check_while_waiting();
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

StagingSlot& CudaBackend::State::next_slot() {
  StagingSlot& slot = staging[next_staging++ % staging.size()];
  if (!slot.memory) slot.memory = pinned.allocate(StagingSlot::bytes);
  wait(slot.done.get());
  return slot;
}

CudaBackend::CudaBackend(int device, const CudaOptions& options) : state_(std::make_unique<State>(selected(device))) {
  state_->options = options;
}

CudaBackend::~CudaBackend() {
  // Memory must not go back to the driver while kernels use it.
  static_cast<void>(cudaStreamSynchronize(state_->compute.get()));
  static_cast<void>(cudaStreamSynchronize(state_->copy.get()));
}

std::string CudaBackend::description() const {
  cudaDeviceProp properties{};
  TRIREME_CUDA(cudaGetDeviceProperties(&properties, state_->device));
  return fmt::format("GPU {}, {}, {} multiprocessors, {:.0f} GiB", state_->device, properties.name,
                     properties.multiProcessorCount, static_cast<double>(properties.totalGlobalMem) * 0x1p-30);
}

MemoryPool& CudaBackend::pool() { return state_->recording != nullptr ? *state_->recording : state_->memory; }
MemoryPool& CudaBackend::host_pool() { return state_->pinned; }
void* CudaBackend::queue() { return state_->compute.get(); }
void CudaBackend::on_wait(std::function<void()> check) { state_->check_while_waiting = std::move(check); }

void CudaBackend::synchronize() {
  TRIREME_CUDA(cudaEventRecord(state_->finished.get(), state_->compute.get()));
  state_->wait(state_->finished.get());
}

void CudaBackend::upload(const void* host, Tensor device) {
  // Whatever still reads the tensor's memory comes first.
  cuda::order(state_->compute.get(), state_->copy.get(), state_->order_event.get());
  upload_beside(host, std::move(device));
}

void CudaBackend::upload_beside(const void* host, Tensor device) {
  for (std::size_t at = 0; at < device.bytes(); at += StagingSlot::bytes) {
    const std::size_t bytes = std::min(StagingSlot::bytes, device.bytes() - at);
    StagingSlot& slot = state_->next_slot();
    std::memcpy(slot.memory.data(), static_cast<const std::byte*>(host) + at, bytes);
    TRIREME_CUDA(cudaMemcpyAsync(static_cast<std::byte*>(device.raw()) + at, slot.memory.data(), bytes,
                                 cudaMemcpyHostToDevice, state_->copy.get()));
    TRIREME_CUDA(cudaEventRecord(slot.done.get(), state_->copy.get()));
  }
  cuda::order(state_->copy.get(), state_->compute.get(), state_->order_event.get());
}

void CudaBackend::download(const Tensor& device, void* host) {
  const std::size_t total = device.bytes();
  const std::size_t pieces = (total + StagingSlot::bytes - 1) / StagingSlot::bytes;
  const auto bytes_of = [&](std::size_t piece) {
    return std::min(StagingSlot::bytes, total - piece * StagingSlot::bytes);
  };
  // One piece crosses the bus while the one before is copied on.
  StagingSlot* under_way = nullptr;
  for (std::size_t piece = 0; piece <= pieces; ++piece) {
    StagingSlot* next = nullptr;
    if (piece < pieces) {
      next = &state_->next_slot();
      TRIREME_CUDA(cudaMemcpyAsync(next->memory.data(),
                                   static_cast<const std::byte*>(device.raw()) + piece * StagingSlot::bytes,
                                   bytes_of(piece), cudaMemcpyDeviceToHost, state_->compute.get()));
      TRIREME_CUDA(cudaEventRecord(next->done.get(), state_->compute.get()));
    }
    if (under_way != nullptr) {
      state_->wait(under_way->done.get());
      std::memcpy(static_cast<std::byte*>(host) + (piece - 1) * StagingSlot::bytes, under_way->memory.data(),
                  bytes_of(piece - 1));
    }
    under_way = next;
  }
}

std::unique_ptr<Recording> CudaBackend::record(const std::function<void()>& work) {
  if (state_->recording != nullptr) fail("a recording cannot be made within another");
  state_->memory.trim();  // recordings have memory of their own, where the same work had this before
  cudaStream_t stream = state_->compute.get();
  auto memory = state_->recording_memory.lock();
  if (!memory) memory = std::make_shared<MemoryPool>(cuda::make_device_memory(state_->device), FreeBlocks::keep);
  state_->recording_memory = memory;
  auto recording = std::make_unique<GraphRecording>(memory, stream);
  // Relaxed: the recording's pool asks the driver for memory meanwhile.
  TRIREME_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  state_->recording = memory.get();
  Graph graph;
  try {
    work();
  } catch (...) {
    state_->recording = nullptr;
    static_cast<void>(cudaStreamEndCapture(stream, graph.put()));
    throw;
  }
  state_->recording = nullptr;
  TRIREME_CUDA(cudaStreamEndCapture(stream, graph.put()));
  recording->keep(graph);
  return recording;
}

std::unique_ptr<Timeline> CudaBackend::make_timeline() { return std::make_unique<EventTimeline>(*state_); }

std::unique_ptr<Backend> make_cuda_backend(int device, const CudaOptions& options) {
  return std::make_unique<CudaBackend>(device, options);
}

int cuda_device_count() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) == cudaSuccess) return devices;
  static_cast<void>(cudaGetLastError());  // no driver or no device: not an error of a later call
  return 0;
}

}  // namespace trireme
