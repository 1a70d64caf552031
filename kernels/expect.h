// Checks of an operation's arguments, for every device. `what` is for people: "LSTM weight".
#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace trireme {

/// Fail where the tensor is not of that shape and type.
void expect_shape(const char* what, const Tensor& tensor, const Shape& shape, DType type);
/// For tensors that callers may hold under any shape of so many elements.
void expect_elements(const char* what, const Tensor& tensor, std::int64_t elements, DType type);
/// Fails where the type is none that layers work in.
void expect_working_type(const char* what, const Tensor& tensor);

}  // namespace trireme
