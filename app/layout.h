// trireme layout
#pragma once

#include <ostream>

#include "app/configuration.h"

namespace trireme {

/// What a launcher asks before it starts `train`. Three lines: how many of the layout.ranks at hand to start, with the
/// keys of their layout (see fit_layout), train.steps, and the step of the newest checkpoint, 0 where there is none:
///
///   6 --parallel.data=3 --parallel.tensor=1 --parallel.pipeline=2
///   steps 600
///   step 400
///
/// Refuses what `train` would refuse about data set, model and layout, and a run without checkpoint.directory.
void print_layout(const Configuration& configuration, std::ostream& out);

}  // namespace trireme
