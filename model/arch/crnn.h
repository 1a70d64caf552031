// Convolutional recurrent recognisers of text lines (Shi, Bai and Yao 2015).
#pragma once

#include "model/arch/architecture.h"
#include "model/arch/gpt.h"
#include "model/arch/line_config.h"

namespace trireme {

/// Convolutions that leave one row of features, a column for every four of the picture; `layers` bidirectional LSTMs of
/// `hidden` units in each direction; and the head with the loss. Where Shi et al. pool, convolutions take strides, and
/// all are normalised: less work for the same field of view. Batches may differ in width. Refuses sizes that do not
/// fit, naming the key.
Architecture make_crnn(const GptConfig& config, const LineConfig& line, DType type);

}  // namespace trireme
