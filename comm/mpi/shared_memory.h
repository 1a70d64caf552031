// Memory that ranks of one host share.
#pragma once

#include <cstddef>
#include <string>

#include "comm/mpi/checked.h"

namespace trireme {

/// Collective over `neighbours`, which can share memory. Zeroed memory that stays until the process ends, or a null
/// pointer on all of them where one cannot have it. It has a name only while this runs.
void* share_memory(MPI_Comm neighbours, std::size_t bytes);

}  // namespace trireme
