// What stands on the encoder of an ERNIE: the end of its chain, by task.
#pragma once

#include <memory>
#include <vector>

#include "model/arch/ernie.h"

namespace trireme {

/// [batch, time, hidden] -> f64 [metrics, 2], or logits where the microbatch has no targets.
std::unique_ptr<Layer> make_ernie_head(const Build& build, const ErnieConfig& config);

/// What it returns.
std::vector<Metric> ernie_metrics(const ErnieConfig& config);

}  // namespace trireme
