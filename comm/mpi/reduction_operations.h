// MPI's names for our element types and reductions.
#pragma once

#include <array>

#include "comm/communicator.h"
#include "comm/mpi/checked.h"

namespace trireme {

/// bf16 travels as 16-bit integers, which only the operations made here may add.
MPI_Datatype mpi_type(DType type);

/// Owns the operations on bf16, which MPI does not have: each addition is done in f32 and rounded to nearest even.
class ReductionOperations {
 public:
  ReductionOperations();
  ~ReductionOperations();
  ReductionOperations(const ReductionOperations&) = delete;
  ReductionOperations& operator=(const ReductionOperations&) = delete;

  MPI_Op get(Reduction reduction, DType type) const;

 private:
  std::array<MPI_Op, 3> bf16_{};  ///< in the order of Reduction
};

}  // namespace trireme
