// Decoder-only language models from GPT-2 (Radford et al. 2019) to LLaMA (Touvron et al. 2023).
#pragma once

#include <cstdint>
#include <string>

#include "kernels/backend.h"
#include "model/arch/architecture.h"

namespace trireme {

enum class PositionKind { learned, rotary };
enum class FeedForwardKind { gelu, swiglu };

struct GptConfig {
  int layers = 4;
  int hidden = 256;
  int heads = 4;
  int key_value_heads = 0;  ///< 0: as many as heads
  int context = 128;        ///< tokens of a sample
  int feed_forward = 0;     ///< inner size; 0: 4 * hidden (gelu), 8/3 * hidden rounded up to 64 (swiglu)
  int vocabulary = 0;       ///< from the data set
  NormKind norm = NormKind::layer;
  FeedForwardKind activation = FeedForwardKind::gelu;
  PositionKind positions = PositionKind::learned;
  bool bias = true;
  bool tie_embeddings = true;
  double dropout = 0.0;  ///< of the embedding and of every residual branch

  int head_size() const { return hidden / heads; }
  int key_value_head_count() const { return key_value_heads ? key_value_heads : heads; }
  int inner_size() const;
};

/// Embedding, `layers` transformer blocks, and the head with the loss. Costs are per sample, on one of `tensor_ranks`
/// ranks with activations of `type`. Refuses sizes that do not fit together, naming the key.
Architecture make_gpt(const GptConfig& config, int tensor_ranks, DType type);

}  // namespace trireme
