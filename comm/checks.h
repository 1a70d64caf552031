// What every communicator asks of its arguments before it touches the network.
#pragma once

#include "comm/communicator.h"

namespace trireme {

/// Fails unless `whole` has size() times the elements of `part`, of one type.
void check_parts(const Communicator& group, const char* operation, const Tensor& part, const Tensor& whole);
/// Fails unless input and output have equal type and length, which divides into size() parts.
void check_halves(const Communicator& group, const Tensor& input, const Tensor& output);
/// Fails unless `rank` is in the group.
void check_rank(const Communicator& group, const char* operation, int rank);

}  // namespace trireme
