// Memory of operations that a failing rank leaves behind.
#pragma once

#include <vector>

#include "kernels/tensor.h"

namespace trireme {

/// Never gives these back to their pool: a network or a device may still read and write them.
void keep_for_ever(std::vector<Tensor> tensors);

}  // namespace trireme
