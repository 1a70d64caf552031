// The communicator of a group of one rank: no network and no MPI under it, every operation is complete at once.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/communicator.h"

namespace trireme {

/// Copies all elements to another tensor of the same type and size that does not overlap, where later work sees them.
using TensorCopy = std::function<void(const Tensor& from, Tensor to)>;
void copy_on_host(const Tensor& from, Tensor to);

/// `exchange` must hold both ends of every message. Tensors of a device need its own way to copy.
std::unique_ptr<Communicator> make_self_communicator(std::string name, TensorCopy copy = copy_on_host);

}  // namespace trireme
