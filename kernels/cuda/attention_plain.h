// Attention for what cuDNN does not take: f32, and any head size.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/backend.h"

namespace trireme::cuda {

/// As Backend::attention and attention_backward, for arguments that fit together, in flash form (Dao et al. 2022): no
/// tensor of time x time. Head sizes above 64 compute the scores again for every 64 columns of the result.
/// Deterministic. `scratch` gives memory for one number a row of queries.
void plain_attention(const AttentionArgs& args, cudaStream_t stream);
void plain_attention_backward(const AttentionBackwardArgs& args, Backend& scratch, cudaStream_t stream);

/// Rows of x f [batch, time, row] become 0 from lengths[b] on. A row is a multiple of 16 bytes, as is the address.
void clear_past(const Tensor& lengths, std::int64_t row, Tensor x, cudaStream_t stream);

}  // namespace trireme::cuda
