// Communicator for device tensors by way of host memory, where devices cannot talk to each other: several ranks share
// one GPU, or NCCL is missing. The whole of every tensor crosses the bus twice, and the host waits for what it sends.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "kernels/backend.h"

namespace trireme {

/// `inner` talks about host tensors. What an operation reads is copied to the host (pinned, from `backend.host_pool()`)
/// before the call returns; what it writes comes back to the device in wait(), or in the test() that finds it complete.
/// `backend` must outlive the communicator and its requests. Reductions have the bits of `inner`.
std::unique_ptr<Communicator> make_staged_communicator(std::unique_ptr<Communicator> inner, Backend& backend);

}  // namespace trireme
