// One product of the emulated cuBLASLt: what it is, whether the library has it, and its arithmetic.
#pragma once

#include <cublasLt.h>

#include <cstdint>

#include "tests/emulation/cublaslt.h"

namespace trireme::emulation::lt {

struct Layout {
  cudaDataType type;
  std::int64_t rows, columns, stride;
  bool operator==(const Layout&) const = default;
};

struct Operation {
  cublasComputeType_t compute;
  std::int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
  void* aux = nullptr;
  std::int64_t aux_stride = 0;
};

struct Problem {
  Operation operation;
  Layout a, b, c, d;
  std::int64_t inner() const { return operation.transpose_a == CUBLAS_OP_N ? a.columns : a.rows; }
};

struct Call {
  Problem problem;
  float alpha, beta;
  const void *a, *b, *c;
  void* d;
  LtAlgorithm algorithm;
};

/// Ends the process with a message: a status could be taken for "not supported", after which the backend would go
/// another way.
void demand(bool holds, const char* what);
bool is_set(std::uint32_t epilogue, int bits);
bool is_aligned(const void* address, std::size_t to);

/// Hash of everything but pointers: an algorithm is good for the problem that it was found for.
std::uint64_t name_of_problem(const Problem& problem);
/// Ends the process where the call makes no sense; false where cuBLASLt has no kernel for one that does.
bool is_supported(const Problem& problem);
/// Multiplies now.
void run(const Call& call);

}  // namespace trireme::emulation::lt
