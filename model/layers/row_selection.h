// Some rows of each sample: the tokens that a head looks at.
#pragma once

#include "model/layer.h"

namespace trireme {

/// x [batch, time, n], rows i32 [batch, count] -> [batch, count, n]: row rows[b, i] of sample b, zeros where that is
/// negative.
Tensor select_rows(const Context& context, const Tensor& x, const Tensor& rows);

/// The gradient of x, of `time` rows a sample.
Tensor select_rows_backward(const Context& context, const Tensor& dy, const Tensor& rows, std::int64_t time);

/// i32 [batch, 1], zeros: selects the first row of each sample.
Tensor first_rows(const Context& context, std::int64_t batch);

}  // namespace trireme
