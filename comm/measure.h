// How fast ranks talk to each other, through any Communicator and for tensors of any backend. Every function throws
// Unanswered at its deadline.
#pragma once

#include "comm/patient.h"
#include "kernels/backend.h"

namespace trireme {

struct LinkSpeed {
  double latency = 0;    ///< seconds that a message of a few bytes takes, one way
  double bandwidth = 0;  ///< bytes a second, one way, in messages of `measured_bytes`
};

inline constexpr int measure_tag = 3;  ///< of the messages
inline constexpr std::int64_t measured_bytes = std::int64_t{4} << 20;

/// Ping-pong between this rank and `peer`, which calls it too.
LinkSpeed measure_link(Communicator& ranks, Backend& backend, int peer, Deadline deadline);

/// Collective: seconds of an all-reduce of that many bytes of f32, the median of a few.
double measure_all_reduce(Communicator& ranks, Backend& backend, std::int64_t bytes, Deadline deadline);

/// How many seconds the system clock of `peer` is ahead of this rank's; 0 on the rank that does not ask. Both call it.
/// The asking rank takes the peer's time to lie in the middle of the shortest of several round trips (Cristian 1989).
double measure_clock(Communicator& ranks, int peer, bool asks, Deadline deadline);

}  // namespace trireme
