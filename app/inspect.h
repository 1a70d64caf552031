// trireme inspect: what is in a file or folder of ours.
#pragma once

#include <filesystem>
#include <ostream>

namespace trireme {

/// Describes a data set, a checkpoint (its folder or model.h5), a shard of one, or a folder of checkpoints. With
/// `statistics`, also the entropies of a data set. Refuses anything else, naming the path and what was found.
void inspect(const std::filesystem::path& path, bool statistics, std::ostream& out);

}  // namespace trireme
