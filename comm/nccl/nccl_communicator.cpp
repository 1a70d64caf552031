#include "comm/nccl/nccl_communicator.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "comm/checks.h"
#include "comm/keep.h"
#include "kernels/error.h"

namespace trireme {
namespace {

ncclDataType_t nccl_type(DType type) {
  switch (type) {
    case DType::f32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    case DType::f64:
      return ncclFloat64;
    case DType::i32:
      return ncclInt32;
    case DType::u8:
      return ncclUint8;
  }
  fail("unknown element type {}", static_cast<int>(type));
}

ncclRedOp_t nccl_reduction(Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return ncclSum;
    case Reduction::maximum:
      return ncclMax;
    case Reduction::minimum:
      return ncclMin;
  }
  fail("unknown reduction {}", static_cast<int>(reduction));
}

std::size_t count_of(const Tensor& tensor) { return static_cast<std::size_t>(tensor.elements()); }

/// Makes the calls of a group one operation. A group must be ended whatever its calls say.
template <typename Calls>
ncclResult_t grouped(Calls calls) {
  const ncclResult_t started = ncclGroupStart();
  if (started != ncclSuccess) return started;
  const ncclResult_t called = calls();
  const ncclResult_t ended = ncclGroupEnd();
  return called == ncclSuccess || called == ncclInProgress ? ended : called;
}

cuda::Stream make_urgent_stream() {
  int lowest = 0;
  int highest = 0;
  TRIREME_CUDA(cudaDeviceGetStreamPriorityRange(&lowest, &highest));
  return cuda::make_stream(highest);
}

bool is_recorded(cudaStream_t queue) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  TRIREME_CUDA(cudaStreamIsCapturing(queue, &status));
  return status != cudaStreamCaptureStatusNone;
}

}  // namespace

/// What a request knows. It may outlive the communicator.
class NcclCommunicator::Operation final : public Request::Operation {
 public:
  Operation(FlightPointer flight, cudaStream_t queue, std::vector<Tensor> tensors)
      : flight_(std::move(flight)), queue_(queue), tensors_(std::move(tensors)) {}
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() override;

  void wait() override {
    TRIREME_CUDA(cudaStreamWaitEvent(queue_, flight_->event.get(), 0));
    done_ = true;
  }
  bool test() override {
    if (flight_->recorded || is_recorded(queue_)) return false;  // only wait() can be part of a recording
    return done_ = flight_->complete();
  }

 private:
  FlightPointer flight_;
  cudaStream_t queue_;
  std::vector<Tensor> tensors_;
  bool done_ = false;
  int exceptions_at_start_ = std::uncaught_exceptions();
};

NcclCommunicator::Operation::~Operation() {
  if (done_) return;
  // Where this rank is failing its peers may never answer: the queue must not wait for them, and the memory must not be
  // used again.
  const bool failing = std::uncaught_exceptions() > exceptions_at_start_;
  if (failing || cudaStreamWaitEvent(queue_, flight_->event.get(), 0) != cudaSuccess)
    keep_for_ever(std::move(tensors_));
}

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> host, Backend& backend, NcclPatience patience,
                                   std::shared_ptr<Alive> alive)
    : host_(std::move(host)),
      patience_(patience),
      alive_(std::move(alive)),
      queue_(static_cast<cudaStream_t>(backend.queue())),
      stream_(make_urgent_stream()),
      exceptions_at_start_(std::uncaught_exceptions()) {
  connect();
  alive_->push_back(this);
}

void NcclCommunicator::connect() {
  ncclUniqueId id{};
  if (rank() == 0) expect(ncclGetUniqueId(&id), patience_.start, "ncclGetUniqueId");
  MemoryPool pool(make_host_memory());
  Tensor message(pool, {sizeof(id) / sizeof(std::int32_t)}, DType::i32);
  std::memcpy(message.raw(), &id, sizeof(id));
  host_->broadcast(message, 0).wait();
  std::memcpy(&id, message.raw(), sizeof(id));

  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  expect(ncclCommInitRankConfig(&comm_, size(), id, rank(), &config), patience_.start, "ncclCommInitRankConfig");
}

NcclCommunicator::~NcclCommunicator() {
  std::erase(*alive_, this);
  if (comm_ == nullptr) return;
  if (std::uncaught_exceptions() > exceptions_at_start_ ||
      settled(ncclCommFinalize(comm_), patience_.start) != ncclSuccess) {
    abort("it was not ended in good order");
    return;
  }
  static_cast<void>(ncclCommDestroy(comm_));
}

template <typename Call>
NcclCommunicator::FlightPointer NcclCommunicator::start(const What& what, Call call) {
  if (comm_ == nullptr) fail("{} in group {}: cannot be started any more: {}", what.name, name(), failure_);
  last_ = what;
  const bool recorded = is_recorded(queue_);
  if (!recorded) forget_the_complete();
  cuda::order(queue_, stream_.get(), order_.get());
  expect(call(), patience_.operation, describe(what));
  FlightPointer flight = mark(what, stream_.get());
  flight->recorded = recorded;
  if (recorded) {
    recorded_ = what;
  } else {
    under_way_.push_back(flight);
  }
  return flight;
}

NcclCommunicator::FlightPointer NcclCommunicator::mark(const What& what, cudaStream_t stream) {
  auto unused = std::find_if(flights_.begin(), flights_.end(), [](const auto& each) { return each.use_count() == 1; });
  if (unused == flights_.end()) unused = flights_.insert(unused, std::make_shared<Flight>());
  FlightPointer flight = *unused;
  flight->what = what;
  flight->number = started_++;
  flight->recorded = flight->probe = false;
  TRIREME_CUDA(cudaEventRecord(flight->event.get(), stream));
  return flight;
}

Request NcclCommunicator::request(const FlightPointer& flight, std::vector<Tensor> tensors) {
  if (tensors.empty()) return {};
  return Request(std::make_unique<Operation>(flight, queue_, std::move(tensors)));
}

Request NcclCommunicator::all_reduce(Tensor buffer, Reduction reduction) {
  if (buffer.elements() == 0) return {};
  const FlightPointer flight = start({"all_reduce", buffer.elements(), buffer.dtype()}, [&] {
    return ncclAllReduce(buffer.raw(), buffer.raw(), count_of(buffer), nccl_type(buffer.dtype()),
                         nccl_reduction(reduction), comm_, stream_.get());
  });
  return request(flight, {std::move(buffer)});
}

Request NcclCommunicator::reduce_scatter(Tensor input, Tensor output) {
  check_parts(*this, "reduce_scatter", output, input);
  if (input.elements() == 0) return {};
  const FlightPointer flight = start({"reduce_scatter", input.elements(), input.dtype()}, [&] {
    return ncclReduceScatter(input.raw(), output.raw(), count_of(output), nccl_type(input.dtype()), ncclSum, comm_,
                             stream_.get());
  });
  return request(flight, {std::move(input), std::move(output)});
}

Request NcclCommunicator::all_gather(Tensor input, Tensor output) {
  check_parts(*this, "all_gather", input, output);
  if (input.elements() == 0) return {};
  const FlightPointer flight = start({"all_gather", output.elements(), output.dtype()}, [&] {
    return ncclAllGather(input.raw(), output.raw(), count_of(input), nccl_type(input.dtype()), comm_, stream_.get());
  });
  return request(flight, {std::move(input), std::move(output)});
}

Request NcclCommunicator::broadcast(Tensor buffer, int root) {
  check_rank(*this, "broadcast", root);
  if (buffer.elements() == 0) return {};
  const FlightPointer flight = start({"broadcast", buffer.elements(), buffer.dtype()}, [&] {
    return ncclBroadcast(buffer.raw(), buffer.raw(), count_of(buffer), nccl_type(buffer.dtype()), root, comm_,
                         stream_.get());
  });
  return request(flight, {std::move(buffer)});
}

Request NcclCommunicator::all_to_all(Tensor input, Tensor output) {
  check_halves(*this, input, output);
  if (input.elements() == 0) return {};
  const std::int64_t part = input.elements() / size();
  const ncclDataType_t type = nccl_type(input.dtype());
  const FlightPointer flight = start({"all_to_all", input.elements(), input.dtype()}, [&] {
    return grouped([&] {
      for (int peer = 0; peer < size(); ++peer) {
        const auto count = static_cast<std::size_t>(part);
        ncclResult_t result = ncclSend(input.view(peer * part, {part}).raw(), count, type, peer, comm_, stream_.get());
        if (result != ncclSuccess && result != ncclInProgress) return result;
        result = ncclRecv(output.view(peer * part, {part}).raw(), count, type, peer, comm_, stream_.get());
        if (result != ncclSuccess && result != ncclInProgress) return result;
      }
      return ncclSuccess;
    });
  });
  return request(flight, {std::move(input), std::move(output)});
}

Exchange NcclCommunicator::exchange(std::span<const Transfer> transfers) {
  std::vector<Transfer> messages;
  std::int64_t elements = 0;
  for (const Transfer& transfer : transfers) {
    check_rank(*this, "exchange", transfer.peer);
    if (transfer.tensor.elements() == 0) continue;
    messages.push_back(transfer);
    elements += transfer.tensor.elements();
  }
  if (messages.empty()) return {};
  std::stable_sort(messages.begin(), messages.end(), [](const Transfer& a, const Transfer& b) {
    return std::pair(a.peer, a.tag) < std::pair(b.peer, b.tag);
  });
  const auto enqueue = [&](Transfer& message) {
    Tensor& tensor = message.tensor;
    const ncclDataType_t type = nccl_type(tensor.dtype());
    if (message.direction == Transfer::Direction::send)
      return ncclSend(tensor.raw(), count_of(tensor), type, message.peer, comm_, stream_.get());
    return ncclRecv(tensor.raw(), count_of(tensor), type, message.peer, comm_, stream_.get());
  };
  const FlightPointer flight = start({"exchange", elements, messages.front().tensor.dtype()}, [&] {
    return grouped([&] {
      for (Transfer& message : messages)
        if (const ncclResult_t result = enqueue(message); result != ncclSuccess && result != ncclInProgress)
          return result;
      return ncclSuccess;
    });
  });
  std::vector<Tensor> received;
  std::vector<Tensor> sent;
  for (Transfer& message : messages)
    (message.direction == Transfer::Direction::send ? sent : received).push_back(std::move(message.tensor));
  return {request(flight, std::move(received)), request(flight, std::move(sent))};
}

}  // namespace trireme
