// `trireme doctor`: what commonly goes wrong on a cluster, looked for before the first step.
#pragma once

#include <cstdint>

#include "app/configuration.h"
#include "comm/mpi/world.h"

namespace trireme {

/// The cheap part, for the start of a run of a model of so many parameters. Collective; some tens of milliseconds. Rank
/// 0 prints what may go wrong on stderr, as `trireme doctor` does. Refuses what must go wrong: processes that MPI did
/// not join, a checkpoint directory that not all hosts share or that has no room for one checkpoint.
void check_before_training(const Configuration& configuration, World& world, std::int64_t parameters);

}  // namespace trireme
