// trireme inspect: what is in a file or folder of ours.
#pragma once

#include <ostream>

#include "app/configuration.h"

namespace trireme {

/// Describes a data set, a checkpoint (its folder or model.h5), a shard of one, or a folder of checkpoints, as options
/// say. Refuses anything else, and damage, naming the path and what was found; of a folder it first lists all.
void inspect(const InspectOptions& options, std::ostream& out);

}  // namespace trireme
