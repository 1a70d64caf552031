// Communicator over MPI, for CPU tensors.
#pragma once

#include <string>

#include "comm/communicator.h"
#include "comm/mpi/checked.h"
#include "comm/mpi/reduction_operations.h"

namespace trireme {

/// Every operation is one of MPI's non-blocking calls, so MPI progresses all of them whenever this rank waits for any:
/// requests may be waited for in any order. Messages longer than `longest_message` elements go in pieces, which pass
/// each other on the way up and down the tree; the whole of a gathered or shared-out tensor has at most INT_MAX
/// elements.
///
/// Reductions: Open MPI 4.1 takes non-blocking collectives from its libnbc component. Its in-place MPI_Iallreduce is
/// always a binomial tree to rank 0 followed by a broadcast from there, its MPI_Ireduce_scatter_block the same tree
/// followed by a scatter. The tree depends on the number of ranks alone, neither on the length nor on arrival, so every
/// rank gets the bits that rank 0 computed, and the same on every run.
class MpiCommunicator final : public Communicator {
 public:
  /// Takes over `handle`, which must be freed before MPI is finalised. `operations` must outlive the communicator.
  MpiCommunicator(MPI_Comm handle, std::string name, const ReductionOperations& operations);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& name() const override { return name_; }

  Request all_reduce(Tensor buffer, Reduction reduction) override;
  Request reduce_scatter(Tensor input, Tensor output) override;
  Request all_gather(Tensor input, Tensor output) override;
  Request broadcast(Tensor buffer, int root) override;
  Request all_to_all(Tensor input, Tensor output) override;
  Exchange exchange(std::span<const Transfer> transfers) override;
  void barrier() override;

  MPI_Comm handle() const { return handle_; }

 private:
  class Operation;

  MPI_Comm handle_;
  std::string name_;
  const ReductionOperations& operations_;
  int rank_ = 0;
  int size_ = 0;
};

}  // namespace trireme
