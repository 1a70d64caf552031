// What recognisers of text lines share: convolutions over the picture, and the head.
#pragma once

#include <functional>
#include <vector>

#include "model/arch/architecture.h"
#include "model/arch/line_config.h"
#include "model/layers/convolution.h"

namespace trireme {

/// Adds a block for each convolution with its norm and activation; the first takes the picture. Returns the shape of
/// what the last makes of a picture, without the batch axis. `bytes` of an activation.
std::function<Shape(const Shape&)> add_convolutions(Architecture& architecture,
                                                    const std::vector<ConvolutionOptions>& convolutions,
                                                    Activation activation, const LineConfig& line, double bytes);

/// Adds the head with the loss, over `columns` columns of `hidden` features, and what it measures.
void add_line_head(Architecture& architecture, std::int64_t hidden, int classes, double columns, double bytes);

}  // namespace trireme
