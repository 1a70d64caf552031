// Transformer recognisers of text lines: SVTR (Du et al. 2022) in the form that PP-OCRv3 gave it (Li et al. 2022).
#pragma once

#include "model/arch/architecture.h"
#include "model/arch/gpt.h"
#include "model/arch/line_config.h"

namespace trireme {

/// Patch embedding by two convolutions; local mixing by depthwise separable convolutions that merge rows, as in
/// PP-LCNet (Cui et al. 2021), until one is left with a column for every four of the picture; global mixing by `layers`
/// transformer blocks of width `hidden` over the columns; and the head with the loss. Batches may differ in width.
/// Costs are on one of `tensor_ranks` ranks. Refuses sizes that do not fit, naming the key.
Architecture make_svtr(const GptConfig& config, const LineConfig& line, int tensor_ranks, DType type);

}  // namespace trireme
