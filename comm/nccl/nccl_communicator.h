// Communicator over NCCL, for tensors of a GPU. Seen only by this folder: see nccl_world.h.
#pragma once

#include <nccl.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/nccl/nccl_world.h"
#include "kernels/cuda/runtime.h"

namespace trireme {

/// Operations run one after the other on a stream of the communicator's own, each after what the backend's queue held
/// when it was called; Request::wait() makes the queue wait, not the host. So groups of different axes work side by
/// side and beside the arithmetic. Can be recorded (Backend::record) once each kind of message has gone over once;
/// what was recorded must be destroyed before the communicator.
///
/// NCCL has no tags. Within one exchange the messages between two ranks meet in the order of (tag, position); those of
/// different exchanges meet in the order of the calls on both sides, whatever their tags.
///
/// Non-blocking: NCCL does what may take long (finding the other ranks, connecting to them) in threads of its own, and
/// this rank asks it again and again how far it is, so that it can give up. Once that has happened every call fails.
///
/// Reductions: algorithm and order depend on the length of the message and the layout; a run repeats them.
class NcclCommunicator final : public Communicator {
 public:
  using Seconds = std::chrono::duration<double>;
  using Alive = std::vector<NcclCommunicator*>;

  /// Stands in `alive` as long as it lives.
  NcclCommunicator(std::unique_ptr<Communicator> host, Backend& backend, NcclPatience patience,
                   std::shared_ptr<Alive> alive);
  ~NcclCommunicator() override;  ///< aborts what is under way while an exception passes, else lets it end
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  const std::string& name() const override { return host_->name(); }

  Request all_reduce(Tensor buffer, Reduction reduction) override;
  Request reduce_scatter(Tensor input, Tensor output) override;
  Request all_gather(Tensor input, Tensor output) override;
  Request broadcast(Tensor buffer, int root) override;
  Request all_to_all(Tensor input, Tensor output) override;
  Exchange exchange(std::span<const Transfer> transfers) override;
  void barrier() override { host_->barrier(); }  ///< of the hosts

  /// See NcclWorld.
  void check();
  void abort(const char* reason) noexcept;

 private:
  class Operation;
  /// An operation, for messages.
  struct What {
    const char* name;
    std::int64_t elements;
    DType type;
  };
  /// An operation that was enqueued, and the event behind it.
  struct Flight {
    What what{};
    std::int64_t number = 0;
    bool recorded = false;  ///< into a graph: this event never happens
    bool probe = false;     ///< stands for recorded ones, which run unseen
    cuda::Event event = cuda::make_event();

    bool complete() const;
  };
  using FlightPointer = std::shared_ptr<Flight>;

  void connect();
  /// Runs `call`, which enqueues on the stream.
  template <typename Call>
  FlightPointer start(const What& what, Call call);
  Request request(const FlightPointer& flight, std::vector<Tensor> tensors);
  /// Marks where `stream` is now.
  FlightPointer mark(const What& what, cudaStream_t stream);

  // nccl_watch.cpp
  /// What `result` becomes when NCCL is no longer busy with this communicator; ncclInProgress after `limit`.
  ncclResult_t settled(ncclResult_t result, Seconds limit);
  /// Gives up, with NCCL's own text, unless `result` settles as success.
  void expect(ncclResult_t result, Seconds limit, const std::string& doing);
  void forget_the_complete();
  [[noreturn]] void give_up(const std::string& reason);
  static std::string describe(const What& what);

  std::unique_ptr<Communicator> host_;
  NcclPatience patience_;
  std::shared_ptr<Alive> alive_;
  cudaStream_t queue_;  ///< the backend's
  cuda::Stream stream_;
  cuda::Event order_ = cuda::make_event();
  ncclComm_t comm_ = nullptr;
  std::string failure_;  ///< why the communicator was given up
  int exceptions_at_start_;

  std::vector<FlightPointer> flights_;   ///< all there are; those that nobody else holds are used again
  std::deque<FlightPointer> under_way_;  ///< on the device, oldest first
  std::int64_t started_ = 0;
  What last_{};                   ///< started
  std::optional<What> recorded_;  ///< the last that went into a recording

  std::int64_t watched_ = -1;  ///< the oldest operation when check() last looked
  std::chrono::steady_clock::time_point watched_since_, last_look_;
};

}  // namespace trireme
