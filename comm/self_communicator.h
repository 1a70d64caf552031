// The communicator of a group of one rank: no network and no MPI under it, every operation is complete at once.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"

namespace trireme {

/// CPU tensors only. `exchange` must hold both ends of every message.
std::unique_ptr<Communicator> make_self_communicator(std::string name);

}  // namespace trireme
