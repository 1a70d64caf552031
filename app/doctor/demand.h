// What a configured model asks for, found without making it.
#pragma once

#include "app/doctor/judge.h"
#include "comm/layout.h"
#include "model/arch/architecture.h"

namespace trireme {

/// Parameters of the whole model, each counted once; the architecture is that of one tensor rank.
std::int64_t count_parameters(const Architecture& architecture);

/// Of a checkpoint of so many.
double checkpoint_bytes_of(std::int64_t parameters);

/// The configuration is complete. Memory is that of weights, gradients, optimizer, one checkpoint's copy
/// where checkpoints are written in the background, and the activations of the microbatches in flight.
Demand demand_of(const Configuration& configuration, const Layout& layout);

}  // namespace trireme
