// The optimizer over the parameter arenas.
#pragma once

#include <cstdint>

#include "model/parameter.h"

namespace trireme {

struct AdamwOptions {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0.1;  ///< decoupled, for parameters that declare it
  double clip_norm = 1.0;     ///< global gradient norm; 0: no clipping
};

class Adamw {
 public:
  Adamw(Backend& backend, ParameterStore& store, const AdamwOptions& options);

  /// norm_squared f64 [1] += this rank's share of the squared gradient norm. The sum over the ranks of the tensor and
  /// pipeline axes counts every parameter once.
  void add_gradient_norm_squared(const Tensor& norm_squared) const;
  /// One step, counted from 1; norm_squared is the global one. Clears the gradients.
  void step(std::int64_t step, double learning_rate, const Tensor& norm_squared);

 private:
  Backend& backend_;
  ParameterStore& store_;
  AdamwOptions options_;
  std::vector<ParameterStore::Range> ranges_;
  Tensor decay_mask_;  ///< of the whole arenas
};

}  // namespace trireme
