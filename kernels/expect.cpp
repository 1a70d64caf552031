#include "kernels/expect.h"

#include "kernels/error.h"

namespace trireme {

void expect_shape(const char* what, const Tensor& tensor, const Shape& shape, DType type) {
  if (tensor.shape() != shape || tensor.dtype() != type)
    fail("{} is {} {}, expected {} {}", what, name_of(tensor.dtype()), tensor.shape().to_string(), name_of(type),
         shape.to_string());
}

void expect_elements(const char* what, const Tensor& tensor, std::int64_t elements, DType type) {
  if (tensor.elements() != elements || tensor.dtype() != type)
    fail("{} is {} {}, expected {} elements of {}", what, name_of(tensor.dtype()), tensor.shape().to_string(), elements,
         name_of(type));
}

void expect_working_type(const char* what, const Tensor& tensor) {
  if (tensor.dtype() != DType::f32 && tensor.dtype() != DType::bf16)
    fail("{}: {} is not a type that layers work in", what, name_of(tensor.dtype()));
}

}  // namespace trireme
