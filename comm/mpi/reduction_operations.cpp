#include "comm/mpi/reduction_operations.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace trireme {
namespace {

template <Reduction reduction>
void combine_bf16(void* in, void* inout, int* count, MPI_Datatype* /*type*/) {
  const auto* from = static_cast<const bfloat16*>(in);
  auto* to = static_cast<bfloat16*>(inout);
  for (int i = 0; i < *count; ++i) {
    const float a = to_float(from[i]);
    const float b = to_float(to[i]);
    if constexpr (reduction == Reduction::sum) to[i] = to_bfloat16(a + b);
    if constexpr (reduction == Reduction::maximum) to[i] = a > b ? from[i] : to[i];
    if constexpr (reduction == Reduction::minimum) to[i] = a < b ? from[i] : to[i];
  }
}

}  // namespace

MPI_Datatype mpi_type(DType type) {
  switch (type) {
    case DType::f32:
      return MPI_FLOAT;
    case DType::bf16:
      return MPI_UINT16_T;
    case DType::f64:
      return MPI_DOUBLE;
    case DType::i32:
      return MPI_INT32_T;
    case DType::u8:
      return MPI_UINT8_T;
  }
  fail("MPI has no type for {}", name_of(type));
}

ReductionOperations::ReductionOperations() {
  constexpr int commutes = 1;
  TRIREME_MPI("world", MPI_Op_create(combine_bf16<Reduction::sum>, commutes, &bf16_[0]));
  TRIREME_MPI("world", MPI_Op_create(combine_bf16<Reduction::maximum>, commutes, &bf16_[1]));
  TRIREME_MPI("world", MPI_Op_create(combine_bf16<Reduction::minimum>, commutes, &bf16_[2]));
}

ReductionOperations::~ReductionOperations() {
  for (MPI_Op& operation : bf16_) MPI_Op_free(&operation);
}

MPI_Op ReductionOperations::get(Reduction reduction, DType type) const {
  const auto index = static_cast<std::size_t>(reduction);
  if (type == DType::bf16) return bf16_[index];
  return std::array<MPI_Op, 3>{MPI_SUM, MPI_MAX, MPI_MIN}[index];
}

}  // namespace trireme
