// trireme pack: raw data to HDF5 data sets.
#pragma once

#include <ostream>

#include "app/configuration.h"

namespace trireme {

/// Packs text and prints what came of it, with the entropies that a model has to beat. Phases are told on `progress`.
/// Refuses options without input or output, and what pack_text refuses.
void pack_text_and_tell(const PackTextOptions& options, std::ostream& out, std::ostream& progress);

/// Packs images and prints what came of it. Images left out are named on `progress`.
void pack_images_and_tell(const PackImagesOptions& options, std::ostream& out, std::ostream& progress);

/// Packs text lines and prints what came of it; the first faults are named on `progress`.
void pack_lines_and_tell(const Configuration& configuration, std::ostream& out, std::ostream& progress);

}  // namespace trireme
