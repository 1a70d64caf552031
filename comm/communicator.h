// The seam between training code and the network: what the ranks of one group say to each other.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace trireme {

enum class Reduction { sum, maximum, minimum };

/// An operation under way. It holds the tensors it reads and writes; they may be touched again after wait().
class Request {
 public:
  class Operation {
   public:
    virtual ~Operation() = default;  ///< completes the operation first if nobody waited
    virtual void wait() = 0;
    virtual bool test() = 0;
  };

  Request() = default;  ///< already complete
  explicit Request(std::unique_ptr<Operation> operation) : operation_(std::move(operation)) {}

  /// Returns when the operation is complete; for device tensors: when work enqueued after it will see its result.
  void wait() {
    if (operation_) operation_->wait();
    operation_.reset();
  }
  /// Lets the operation progress; true when it is complete.
  bool test() {
    if (operation_ && operation_->test()) operation_.reset();
    return !operation_;
  }

 private:
  std::unique_ptr<Operation> operation_;
};

/// One message of a batched exchange.
struct Transfer {
  enum class Direction { send, receive };
  Direction direction;
  int peer;  ///< rank in this communicator
  int tag;   ///< messages between the same pair with the same tag keep their order
  Tensor tensor;
};

/// An exchange under way. Who only needs what came in need not wait until the peers have taken what goes out.
struct Exchange {
  Request received, sent;
  void wait() {
    received.wait();
    sent.wait();
  }
};

/// Collective and point-to-point operations of a group of ranks. Every rank of the group makes the same collective
/// calls in the same order. Calls return at once; the request completes them. All ranks get bit-identical results from
/// a reduction, the same on every run of the same layout. f32, bf16 (added in f32), f64 and i32.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// What the group is for ("data", "tensor"), for messages.
  virtual const std::string& name() const = 0;

  virtual Request all_reduce(Tensor buffer, Reduction reduction) = 0;  ///< in place
  /// output [n] of rank r = part r of the element-wise sum of all inputs [size * n].
  virtual Request reduce_scatter(Tensor input, Tensor output) = 0;
  /// output [size * n] = all inputs [n], in rank order.
  virtual Request all_gather(Tensor input, Tensor output) = 0;
  virtual Request broadcast(Tensor buffer, int root) = 0;
  /// Part p of input [size * n] goes to rank p; part p of output comes from rank p.
  virtual Request all_to_all(Tensor input, Tensor output) = 0;
  /// Starts all transfers at once, so that no order of sends and receives between two ranks can deadlock.
  virtual Exchange exchange(std::span<const Transfer> transfers) = 0;
  virtual void barrier() = 0;
};

}  // namespace trireme
