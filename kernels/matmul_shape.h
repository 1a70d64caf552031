// Sizes of a matrix product, and the checks of its arguments, for every device.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace trireme {

/// out [m, n] = a' [m, k] b' [k, n].
struct MatmulSizes {
  std::int64_t m = 0, n = 0, k = 0;
};

/// Sizes of a call whose tensors agree in shape and type; fails with what does not fit.
MatmulSizes sizes_of(const MatmulArgs& args);

}  // namespace trireme
