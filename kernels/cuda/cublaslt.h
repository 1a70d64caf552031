// Matrix products by cuBLASLt. Algorithms are chosen by timing, once for every kind of product, and in such a way that
// the choice never shows in a result: see CublasLt.
#pragma once

#include <cublasLt.h>

#include <compare>
#include <cstdint>
#include <memory>

#include "kernels/pool.h"
#include "kernels/tensor.h"

namespace trireme::cuda {

/// out [m, n] (+)= a' [m, k] b' [k, n], all row-major and dense, and what is done to it on the way to memory.
struct LtProduct {
  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false, accumulate = false;
  DType input = DType::f32, output = DType::f32;
  bool tf32 = false;  ///< f32 operands are rounded to 10 bits of fraction: several times faster
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  auto operator<=>(const LtProduct&) const = default;  // NOLINT(modernize-use-nullptr): takes <=> for a pointer
};

/// Where the operands lie on the device.
struct LtOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  void* out = nullptr;
  /// Of the type of out. *_BIAS: [n]. BGRADB: [m], receives the row sums of a'.
  void* bias = nullptr;
  /// [m, n] of the type of out, n a multiple of 8. GELU_AUX*: receives what goes into the GELU. DGELU: that, to read.
  void* aux = nullptr;
};

/// The first time that a product is asked for, cuBLASLt names the algorithms that it deems best. All of them multiply
/// test data, and the fastest is kept of those whose results are those of the first bit by bit. So which one is kept
/// may differ between two runs (timings do), the results do not: what the first is depends on the sizes alone.
class CublasLt {
 public:
  CublasLt();
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  /// Enqueues the product. False where cuBLASLt has no kernel for it, or the epilogue is better done apart: then
  /// nothing was enqueued. Waits for the stream the first time, unless the stream is being captured.
  bool multiply(const LtProduct& product, const LtOperands& operands, MemoryPool& pool, cudaStream_t stream);

 private:
  struct State;  ///< made on first use
  std::unique_ptr<State> state_;
};

}  // namespace trireme::cuda
