// Sizes of convolution, pooling and batch normalisation, and the checks of their arguments, for every device. All
// functions fail with what does not fit.
#pragma once

#include <compare>
#include <cstdint>

#include "kernels/backend.h"

namespace trireme {

/// Cells that a window takes along one axis: floor((in + 2 pad - reach) / stride) + 1 with
/// reach = (window - 1) dilation + 1.
std::int64_t output_extent(std::int64_t in, std::int64_t window, std::int64_t stride, std::int64_t pad,
                           std::int64_t dilation = 1);

/// Everything that tells one convolution from another, so it is also the key of what is prepared once and kept.
struct ConvolutionSizes {
  std::int64_t batch = 0, height = 0, width = 0, channels = 0;  ///< x
  std::int64_t outputs = 0, rows = 0, columns = 0, groups = 1;  ///< filter [outputs, rows, columns, channels / groups]
  std::int64_t out_height = 0, out_width = 0;                   ///< y [batch, out_height, out_width, outputs]
  std::int64_t stride_height = 1, stride_width = 1, pad_height = 0, pad_width = 0;
  std::int64_t dilation_height = 1, dilation_width = 1;
  auto operator<=>(const ConvolutionSizes&) const = default;  // NOLINT(modernize-use-nullptr): takes <=> for a pointer
};

/// Shape of y.
Shape convolution_output(const ConvolutionShape& shape, const Shape& x, const Shape& filter);
/// Sizes of a call whose tensors agree in shape and type.
ConvolutionSizes sizes_of(const ConvolutionArgs& args);
ConvolutionSizes sizes_of(const ConvolutionBackwardDataArgs& args);
ConvolutionSizes sizes_of(const ConvolutionBackwardFilterArgs& args);

struct PoolingSizes {
  std::int64_t batch = 0, height = 0, width = 0, channels = 0;
  std::int64_t out_height = 0, out_width = 0;
  auto operator<=>(const PoolingSizes&) const = default;  // NOLINT(modernize-use-nullptr): takes <=> for a pointer
};

/// Shape of y; reads no tensor of args. Padding is smaller than the window, so every window holds a cell.
Shape pooling_output(const PoolingArgs& args, const Shape& x);
PoolingSizes sizes_of(const PoolingArgs& args);
PoolingSizes sizes_of(const PoolingBackwardArgs& args);

struct BatchNormSizes {
  std::int64_t rows = 0, channels = 0;
};

BatchNormSizes sizes_of(const BatchNormStatisticsArgs& args);
BatchNormSizes sizes_of(const BatchNormMomentsArgs& args);  ///< rows are not known: 0
BatchNormSizes sizes_of(const BatchNormArgs& args);
BatchNormSizes sizes_of(const BatchNormBackwardStatisticsArgs& args);
BatchNormSizes sizes_of(const BatchNormBackwardArgs& args);

}  // namespace trireme
