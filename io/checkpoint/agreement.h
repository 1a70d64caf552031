// What ranks that work together tell each other.
#pragma once

#include <functional>
#include <vector>

#include "comm/communicator.h"

namespace trireme {

/// Every rank's value, in rank order.
std::vector<int> gather(Communicator& world, int value);

/// Whether it is true on any rank.
bool any_rank(Communicator& world, bool value);

/// Runs `work` on every rank and returns when all have done it. Where it threw on some rank, throws on all with that
/// rank's number, message and status; with the lowest such rank's where there are several.
void together(Communicator& world, const std::function<void()>& work);

}  // namespace trireme
