// Our own kernels around the products of cuBLASLt.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/tensor.h"

namespace trireme::cuda {

/// out f or f32 [rows, n] += bias f [n] in every row.
void add_bias(const Tensor& bias, Tensor out, cudaStream_t stream);

/// Fills an operand f [rows, columns] of a product whose sums run over its rows or columns with numbers of both signs
/// and many magnitudes, the same for the same seed. The two halves of every sum's terms are equal, but for the sign
/// where `cancel` is set: then every other sum is zero but for its rounding, all of whose bits depend on the order in
/// which it was taken.
void fill_for_trial(Tensor operand, bool sums_run_over_rows, bool cancel, std::uint32_t seed, cudaStream_t stream);

/// Elements of the tensor that `fingerprint` wants.
std::int64_t fingerprint_size(const Tensor& x);
/// out i32 [fingerprint_size(x)]: hashes of the bits of x; different bits give different hashes but for bad luck.
void fingerprint(const Tensor& x, Tensor out, cudaStream_t stream);

}  // namespace trireme::cuda
