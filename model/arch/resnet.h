// Residual networks for images (He et al. 2016), as they are trained since Goyal et al. 2017 ("v1.5": the stride of a
// bottleneck is in its 3x3 convolution).
#pragma once

#include "model/arch/architecture.h"

namespace trireme {

/// large: 7x7 with stride 2, then a maximum over 3x3 with stride 2, for photographs. small: 3x3, for 28x28 or 32x32.
enum class StemKind { large, small };
/// What the batch of batch normalisation is: one rank's microbatch, or those of all data-parallel ranks together.
enum class BatchNormScope { local, synchronised };

struct ResnetConfig {
  int depth = 50;  ///< 10, 18, 34 (blocks of two 3x3), 50, 101 (bottlenecks)
  int width = 64;  ///< channels of the first stage's 3x3 convolutions; each stage has twice those of the one before
  StemKind stem = StemKind::large;
  int image_size = 224;  ///< height and width
  int channels = 0;      ///< of an image, 1 or 3; from the data set
  int classes = 0;       ///< from the data set
  BatchNormScope batch_norm = BatchNormScope::local;
  double batch_norm_momentum = 0.1;  ///< share of a step's statistics in the running ones
  bool zero_scale = true;            ///< the last norm of every residual branch begins with a scale of 0
  double label_smoothing = 0.0;

  bool bottleneck() const { return depth >= 50; }
};

/// Images [batch, image_size, image_size, channels], u8, or f where they are normalised already, through stem, residual
/// blocks and head; field 1 of a microbatch is the class, i32 [batch]. Costs are per sample. Refuses sizes that do not
/// fit together, naming the key.
Architecture make_resnet(const ResnetConfig& config, DType type);

}  // namespace trireme
