// What long short-term memory has in common on every device: sizes, checks, and the products over all time steps at
// once. What is left to the devices is the recurrence.
#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace trireme {

struct LstmSizes {
  std::int64_t batch = 0, time = 0, inputs = 0, hidden = 0;
  std::int64_t directions = 0;

  std::int64_t gates() const { return 4 * hidden; }
  /// Rows of one direction's gates, cells and outputs.
  std::int64_t rows() const { return time * batch; }
  /// The time step that a direction works on as its `step`-th.
  static std::int64_t time_of(std::int64_t direction, std::int64_t step, std::int64_t time) {
    return direction == 0 ? step : time - 1 - step;
  }
};

/// Sizes of a call whose tensors agree in shape and type; fails with what does not fit.
LstmSizes sizes_of(const LstmArgs& args);
LstmSizes sizes_of(const LstmBackwardInputArgs& args);
LstmSizes sizes_of(const LstmBackwardWeightArgs& args);

/// One direction's part of a tensor whose slowest axis is the direction, as a matrix.
Tensor direction_of(const Tensor& tensor, std::int64_t direction, std::int64_t rows);

/// z f32 [directions, time, batch, 4 * hidden] = inputs weight'.
void multiply_inputs(Backend& backend, const LstmArgs& args, const Tensor& z);
/// z of one direction's `step`-th step += h of the step before times recurrent_weight'.
void add_recurrent_product(Backend& backend, const LstmArgs& args, const Tensor& z, std::int64_t direction,
                           std::int64_t step);
/// dh f32 [batch, hidden] of the step before = dz recurrent_weight, dz in the gates' place.
void multiply_recurrent_gradient(Backend& backend, const LstmArgs& args, std::int64_t direction, std::int64_t step,
                                 const Tensor& dh);
/// dinputs f32 [time, batch, inputs] = dz weight, dz in the gates' place.
void multiply_gradients(Backend& backend, const LstmArgs& args, const Tensor& dinputs);
/// All of Backend::lstm_backward_weight.
void add_weight_gradients(Backend& backend, const LstmBackwardWeightArgs& args);

}  // namespace trireme
