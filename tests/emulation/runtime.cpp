// The CUDA runtime's functions on host memory: one device, streams as queues, events, capture into graphs.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <utility>
#include <vector>

#include "tests/emulation/emulation.h"

namespace {

struct Capture;

/// One recording of an event: done when its stream has come to it.
struct Ticket {
  cudaStream_t stream = nullptr;
  const Capture* capture = nullptr;  ///< recorded while this was being captured
  long long position = 0;            ///< works that the stream had been given then, for joins
  bool done = false;
  double time = 0;
};
using TicketPointer = std::shared_ptr<Ticket>;

/// What a queue holds: work, the mark of an event, or a wait for one.
struct Item {
  std::function<void()> work;
  TicketPointer mark, wait;
};

struct Capture {
  cudaStream_t origin = nullptr;
  std::vector<std::function<void()>> nodes;
  std::set<cudaStream_t> joined;  ///< streams that waited for an event of this capture
};

}  // namespace

struct CUstream_st {
  std::deque<Item> queue;
  std::shared_ptr<Capture> capture;
  long long given = 0;          ///< works captured on this stream
  long long joined_up_to = -1;  ///< works that the origin has waited for
  int priority = 0;
};
struct CUevent_st {
  TicketPointer ticket;
};
struct CUgraph_st {
  std::vector<std::function<void()>> nodes;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> nodes;
};

namespace trireme::emulation {
namespace {

// Never destroyed: a backend may live as long as the process.
auto& streams = *new std::set<cudaStream_t>;
auto& blocks = *new std::map<void*, std::size_t>;
Counters counted;
double clock_now = 0;
std::uint64_t coin_state = 0x9E3779B97F4A7C15ULL;

bool toss_coin() {
  coin_state = coin_state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (coin_state >> 40U) % 2 == 0;
}

void run_next(cudaStream_t stream);

void force(const TicketPointer& ticket) {
  while (!ticket->done) {
    if (ticket->stream->queue.empty()) {
      std::fprintf(stderr, "emulation: an event is waited for that its stream never reaches\n");
      std::abort();
    }
    run_next(ticket->stream);
  }
}

void run_next(cudaStream_t stream) {
  const Item item = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (item.wait) force(item.wait);
  if (item.work) item.work();
  if (item.mark) {
    item.mark->done = true;
    item.mark->time = clock_now;
  }
}

/// As far as the stream can go without the others.
void run_ahead(cudaStream_t stream) {
  while (!stream->queue.empty() && (!stream->queue.front().wait || stream->queue.front().wait->done)) run_next(stream);
}

void drain(cudaStream_t stream) {
  while (!stream->queue.empty()) run_next(stream);
}
void drain_all() {
  for (cudaStream_t stream : streams) drain(stream);
}

void push(cudaStream_t stream, Item item) {
  stream->queue.push_back(std::move(item));
  if (toss_coin()) run_ahead(stream);
}

cudaError_t take(void** memory, std::size_t bytes) {
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xFF, bytes);  // NaN in every type
  blocks[*memory] = bytes;
  ++counted.mallocs;
  return cudaSuccess;
}
cudaError_t give_back(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  drain_all();
  if (blocks.erase(memory) == 0) return cudaErrorInvalidValue;
  std::free(memory);
  return cudaSuccess;
}

bool known(cudaStream_t stream) { return streams.contains(stream); }

}  // namespace

const Counters& counters() { return counted; }
void advance_clock(double milliseconds) { clock_now += milliseconds; }
bool is_capturing(cudaStream_t stream) { return stream->capture != nullptr; }

void enqueue(cudaStream_t stream, std::function<void()> work) {
  if (!known(stream)) {
    std::fprintf(stderr, "emulation: work for a stream that does not exist (the default stream is not emulated)\n");
    std::abort();
  }
  ++counted.kernels;
  if (stream->capture) {
    ++stream->given;
    stream->capture->nodes.push_back(std::move(work));
    return;
  }
  push(stream, {.work = std::move(work), .mark = nullptr, .wait = nullptr});
}

}  // namespace trireme::emulation

using namespace trireme::emulation;  // NOLINT: the functions below are C's

extern "C" {

// --- device
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "emulated H100");
  properties->multiProcessorCount = 4;
  properties->major = 9;
  properties->totalGlobalMem = std::size_t{8} << 30;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount       ? 4
           : attribute == cudaDevAttrComputeCapabilityMajor  ? 9
           : attribute == cudaDevAttrMaxThreadsPerBlock      ? 1024
           : attribute == cudaDevAttrMaxSharedMemoryPerBlock ? 48 << 10
                                                             : 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
cudaError_t cudaDeviceSynchronize() {
  ++counted.synchronizations;
  drain_all();
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "emulated error"; }
const char* cudaGetErrorName(cudaError_t) { return "emulated"; }

// --- memory
cudaError_t cudaMalloc(void** memory, size_t bytes) { return take(memory, bytes); }
cudaError_t cudaMallocHost(void** memory, size_t bytes) { return take(memory, bytes); }
cudaError_t cudaFree(void* memory) { return give_back(memory); }
cudaError_t cudaFreeHost(void* memory) { return give_back(memory); }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = std::size_t{8} << 30;
  *free = *total / 2;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  enqueue(stream, [=] { std::memmove(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  enqueue(stream, [=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}

// --- streams
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
  *stream = new CUstream_st;
  (*stream)->priority = priority;
  streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  drain(stream);
  streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (is_capturing(stream)) return cudaErrorStreamCaptureUnsupported;
  ++counted.synchronizations;
  drain(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (is_capturing(stream)) return cudaErrorStreamCaptureUnsupported;
  if (stream->queue.empty()) return cudaSuccess;
  run_next(stream);
  return cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const TicketPointer ticket = event->ticket;
  if (!ticket) return cudaSuccess;  // never recorded
  if (ticket->capture) {
    if (!stream->capture) {
      stream->capture = ticket->stream->capture;
      stream->given = 0;
      stream->joined_up_to = -1;
      stream->capture->joined.insert(stream);
    }
    if (stream == stream->capture->origin)
      ticket->stream->joined_up_to = std::max(ticket->stream->joined_up_to, ticket->position);
    return cudaSuccess;
  }
  if (stream->capture) return cudaErrorStreamCaptureIsolation;
  push(stream, {.work = nullptr, .mark = nullptr, .wait = ticket});
  return cudaSuccess;
}

// --- events
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->ticket = std::make_shared<Ticket>();
  event->ticket->stream = stream;
  if (stream->capture) {
    event->ticket->capture = stream->capture.get();
    event->ticket->position = stream->given;
    return cudaSuccess;
  }
  push(stream, {.work = nullptr, .mark = event->ticket, .wait = nullptr});
  return cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  if (flags == cudaEventRecordDefault) return cudaEventRecord(event, stream);
  if (flags != cudaEventRecordExternal || !stream->capture) return cudaErrorInvalidValue;
  enqueue(stream, [event] {
    event->ticket = std::make_shared<Ticket>();
    event->ticket->done = true;
    event->ticket->time = clock_now;
  });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (!event->ticket || event->ticket->done) return cudaSuccess;
  if (event->ticket->capture) return cudaErrorCapturedEvent;
  run_next(event->ticket->stream);
  return cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (!event->ticket) return cudaSuccess;
  if (event->ticket->capture) return cudaErrorCapturedEvent;
  ++counted.synchronizations;
  force(event->ticket);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (!start->ticket || !end->ticket) return cudaErrorInvalidResourceHandle;
  if (!start->ticket->done || !end->ticket->done) return cudaErrorNotReady;
  *milliseconds = static_cast<float>(end->ticket->time - start->ticket->time);
  return cudaSuccess;
}

// --- graphs
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::shared_ptr<Capture> capture = std::exchange(stream->capture, nullptr);
  *graph = nullptr;
  if (!capture || capture->origin != stream) return cudaErrorStreamCaptureUnmatched;
  cudaError_t status = cudaSuccess;
  for (cudaStream_t joined : capture->joined) {
    joined->capture = nullptr;
    if (joined->given > joined->joined_up_to) status = cudaErrorStreamCaptureUnjoined;
  }
  if (status == cudaSuccess) *graph = new CUgraph_st{capture->nodes};
  return status;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  ++counted.graph_launches;
  for (const auto& node : exec->nodes) enqueue(stream, node);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  drain_all();
  delete exec;
  return cudaSuccess;
}

}  // extern "C"
