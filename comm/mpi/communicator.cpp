#include "comm/mpi/communicator.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <exception>

#include "comm/checks.h"
#include "comm/keep.h"
#include "comm/mpi/world.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// MPI counts in int, and Open MPI multiplies such counts by the number of ranks in int.
int count_of(const Communicator& group, const char* operation, const Tensor& tensor) {
  if (tensor.elements() > INT_MAX)
    fail("{} in group {}: {} elements are more than MPI can count ({})", operation, group.name(), tensor.elements(),
         INT_MAX);
  return static_cast<int>(tensor.elements());
}

/// Calls `start(pointer, count)` for each piece of a tensor that MPI is to see as one message.
template <typename Start>
void for_each_piece(Tensor& tensor, Start start) {
  for (std::int64_t first = 0; first < tensor.elements(); first += longest_message) {
    const std::int64_t count = std::min(longest_message, tensor.elements() - first);
    start(tensor.view(first, {count}).raw(), static_cast<int>(count));
  }
}

}  // namespace

/// MPI requests under way and the tensors they work on.
class MpiCommunicator::Operation final : public Request::Operation {
 public:
  /// `what` is done in the group, or, where it holds a peer's tensors, to or from that rank; it outlives the operation.
  Operation(const char* what, std::string group) : what_(what), group_(std::move(group)) {}
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() override;

  void hold(Tensor tensor, int peer = -1) {
    peer_ = peer;
    elements_ += tensor.elements();
    tensors_.push_back(std::move(tensor));
  }
  /// Where the next MPI call is to put its request.
  MPI_Request* next() { return &requests_.emplace_back(MPI_REQUEST_NULL); }

  void wait() override {
    if (test()) return;
    const Activity activity(what_, place(), -1, Waits::for_ranks);
    for (; done_ < requests_.size(); ++done_) TRIREME_MPI(group_, MPI_Wait(&requests_[done_], MPI_STATUS_IGNORE));
  }
  bool test() override {
    for (; done_ < requests_.size(); ++done_) {
      int complete = 0;
      TRIREME_MPI(group_, MPI_Test(&requests_[done_], &complete, MPI_STATUS_IGNORE));
      if (!complete) return false;
    }
    return true;
  }

 private:
  std::string place() const {
    const std::string group = peer_ < 0 ? group_ : fmt::format("rank {} of {}", peer_, group_);
    return fmt::format("{} ({} elements)", group, elements_);
  }

  const char* what_;
  std::string group_;
  int peer_ = -1;
  std::int64_t elements_ = 0;
  std::vector<Tensor> tensors_;
  std::vector<MPI_Request> requests_;
  std::size_t done_ = 0;
  int exceptions_at_start_ = std::uncaught_exceptions();
};

MpiCommunicator::Operation::~Operation() {
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    // This rank is failing: its peers may never answer, and waiting would keep it from ending the job. The memory must
    // not be used again, as MPI may still write to it.
    keep_for_ever(std::move(tensors_));
    return;
  }
  try {
    wait();
  } catch (const Error& error) {
    std::fprintf(stderr, "trireme: %s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitStatus::failed));
  }
}

MpiCommunicator::MpiCommunicator(MPI_Comm handle, std::string name, const ReductionOperations& operations)
    : handle_(handle), name_(std::move(name)), operations_(operations) {
  TRIREME_MPI(name_, MPI_Comm_rank(handle_, &rank_));
  TRIREME_MPI(name_, MPI_Comm_size(handle_, &size_));
}

MpiCommunicator::~MpiCommunicator() { MPI_Comm_free(&handle_); }

Request MpiCommunicator::all_reduce(Tensor buffer, Reduction reduction) {
  auto operation = std::make_unique<Operation>("all_reduce in", name_);
  operation->hold(buffer);
  const MPI_Datatype type = mpi_type(buffer.dtype());
  const MPI_Op op = operations_.get(reduction, buffer.dtype());
  for_each_piece(buffer, [&](void* data, int count) {
    TRIREME_MPI(name_, MPI_Iallreduce(MPI_IN_PLACE, data, count, type, op, handle_, operation->next()));
  });
  return Request(std::move(operation));
}

Request MpiCommunicator::reduce_scatter(Tensor input, Tensor output) {
  check_parts(*this, "reduce_scatter", output, input);
  const int count = count_of(*this, "reduce_scatter", input) / size_;
  if (count == 0) return {};
  auto operation = std::make_unique<Operation>("reduce_scatter in", name_);
  operation->hold(input);
  operation->hold(output);
  TRIREME_MPI(name_,
              MPI_Ireduce_scatter_block(input.raw(), output.raw(), count, mpi_type(input.dtype()),
                                        operations_.get(Reduction::sum, input.dtype()), handle_, operation->next()));
  return Request(std::move(operation));
}

Request MpiCommunicator::all_gather(Tensor input, Tensor output) {
  check_parts(*this, "all_gather", input, output);
  const int count = count_of(*this, "all_gather", output) / size_;
  if (count == 0) return {};
  auto operation = std::make_unique<Operation>("all_gather in", name_);
  operation->hold(input);
  operation->hold(output);
  const MPI_Datatype type = mpi_type(input.dtype());
  // A rank's own part may already lie in its place.
  const auto* own_place = static_cast<const std::byte*>(output.raw()) + input.bytes() * static_cast<std::size_t>(rank_);
  const void* from = input.raw() == own_place ? MPI_IN_PLACE : input.raw();
  TRIREME_MPI(name_, MPI_Iallgather(from, count, type, output.raw(), count, type, handle_, operation->next()));
  return Request(std::move(operation));
}

Request MpiCommunicator::broadcast(Tensor buffer, int root) {
  check_rank(*this, "broadcast", root);
  auto operation = std::make_unique<Operation>("broadcast in", name_);
  operation->hold(buffer);
  const MPI_Datatype type = mpi_type(buffer.dtype());
  for_each_piece(buffer, [&](void* data, int count) {
    TRIREME_MPI(name_, MPI_Ibcast(data, count, type, root, handle_, operation->next()));
  });
  return Request(std::move(operation));
}

Request MpiCommunicator::all_to_all(Tensor input, Tensor output) {
  check_halves(*this, input, output);
  const int count = count_of(*this, "all_to_all", input) / size_;
  if (count == 0) return {};
  auto operation = std::make_unique<Operation>("all_to_all in", name_);
  operation->hold(input);
  operation->hold(output);
  const MPI_Datatype type = mpi_type(input.dtype());
  TRIREME_MPI(name_, MPI_Ialltoall(input.raw(), count, type, output.raw(), count, type, handle_, operation->next()));
  return Request(std::move(operation));
}

Exchange MpiCommunicator::exchange(std::span<const Transfer> transfers) {
  const auto start = [&](Transfer::Direction direction) {
    const bool receives = direction == Transfer::Direction::receive;
    auto operation = std::make_unique<Operation>(receives ? "receive from" : "send to", name_);
    for (const Transfer& transfer : transfers) {
      if (transfer.direction != direction) continue;
      check_rank(*this, "exchange", transfer.peer);
      Tensor tensor = transfer.tensor;
      operation->hold(tensor, transfer.peer);
      const MPI_Datatype type = mpi_type(tensor.dtype());
      for_each_piece(tensor, [&](void* data, int count) {
        if (receives)
          TRIREME_MPI(name_, MPI_Irecv(data, count, type, transfer.peer, transfer.tag, handle_, operation->next()));
        else
          TRIREME_MPI(name_, MPI_Isend(data, count, type, transfer.peer, transfer.tag, handle_, operation->next()));
      });
    }
    return Request(std::move(operation));
  };
  Request received = start(Transfer::Direction::receive);
  return {std::move(received), start(Transfer::Direction::send)};
}

void MpiCommunicator::barrier() {
  const Activity activity("barrier in", name_, -1, Waits::for_ranks);
  TRIREME_MPI(name_, MPI_Barrier(handle_));
}

}  // namespace trireme
