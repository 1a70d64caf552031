// Sizes of cross-entropy and of what is counted beside it, and the checks of their arguments, for every device. All
// functions fail with what does not fit.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace trireme {

/// Statistics of a row, 3 or 4, of a tensor [kinds, rows] or [parts, kinds, rows].
std::int64_t kinds_of(const Tensor& statistics);

struct CrossEntropySizes {
  std::int64_t rows = 0, columns = 0;
  std::int64_t parts = 1, kinds = 3;  ///< of the statistics
};

CrossEntropySizes sizes_of(const CrossEntropyStatisticsArgs& args);
CrossEntropySizes sizes_of(const CrossEntropyLossArgs& args);  ///< columns are not known: 0
CrossEntropySizes sizes_of(const CrossEntropyGradientArgs& args);
CrossEntropySizes sizes_of(const TargetPlacesArgs& args);
CrossEntropySizes sizes_of(const ArgMaxArgs& args);

/// Lines of `hits`.
std::int64_t groups_of(const HitsArgs& args);

/// What a smoothed target is for every class, and how much less than 1 its own class has.
struct SmoothTarget {
  explicit SmoothTarget(const LabelSmoothing& smoothing)
      : everywhere(smoothing.amount / static_cast<float>(smoothing.classes)), missing(smoothing.amount - everywhere) {}
  float everywhere, missing;
};

}  // namespace trireme
