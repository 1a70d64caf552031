// Dropout (Srivastava et al. 2014), the same on every layout.
#pragma once

#include <string>

#include "kernels/philox.h"
#include "model/layer.h"

namespace trireme {

/// Not a Layer: it keeps nothing, since its mask can be made again from the position in the run.
class Dropout {
 public:
  Dropout(const std::string& name, double probability)
      : stream_(stream_of(name)), probability_(static_cast<float>(probability)) {}

  /// residual + dropout(x); residual may be empty. Backward: the same call on the gradient. Returns x itself where
  /// nothing is to do.
  Tensor operator()(const Context& context, const Tensor& x, const Tensor& residual = Tensor()) const;

 private:
  std::uint64_t stream_;
  float probability_;
};

}  // namespace trireme
