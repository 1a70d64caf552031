// NCCL as this program sees it: makes communicators between GPUs and watches over them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "kernels/backend.h"

namespace trireme {

/// How long to wait for other ranks before giving up.
struct NcclPatience {
  std::chrono::duration<double> start{300};      ///< for the ranks of a group to find each other, and to take leave
  std::chrono::duration<double> operation{900};  ///< for an operation to start, or to end while the host waits for it
};

/// All NCCL communicators of this process. While the host waits for the device (Backend::on_wait, which this object
/// takes) it looks after them: an error that NCCL found in the background, or an operation that does not end in time,
/// aborts the communicator and throws an Error that names group, rank and operation.
class NcclWorld {
 public:
  /// `backend` must outlive this object.
  explicit NcclWorld(Backend& backend, NcclPatience patience = {});
  ~NcclWorld();
  NcclWorld(const NcclWorld&) = delete;
  NcclWorld& operator=(const NcclWorld&) = delete;

  /// Collective over the group of `host`, which carries what NCCL's ranks need to find each other, and barriers. The
  /// current device is the group's on this rank; no two ranks may have the same.
  std::unique_ptr<Communicator> group(std::unique_ptr<Communicator> host);
  /// What the host calls while it waits for the device: throws when that is in vain.
  void check();
  /// Gives all communicators up, whatever they are doing.
  void abort() noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Why NCCL cannot be used by this process, and what would help; empty where it can.
std::string why_no_nccl();
/// Tells the current GPU from the others of this host, in all its processes alike.
std::int32_t nccl_device();

}  // namespace trireme
