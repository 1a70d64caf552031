// What normalise_pixels does to a value of each channel, for every device.
#pragma once

#include "kernels/backend.h"

namespace trireme {

struct PixelScale {
  int channels = 1;
  float slope[PixelsArgs::most_channels] = {};  ///< y = x * slope + offset
  float offset[PixelsArgs::most_channels] = {};
};

/// Fails where the tensors are not as the operation takes them.
PixelScale scale_of(const PixelsArgs& args);

}  // namespace trireme
