// Token embedding, with the vocabulary split between the ranks of the tensor axis, and learned positions.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/build.h"
#include "model/layers/dropout.h"

namespace trireme {

struct EmbeddingOptions {
  std::int64_t vocabulary = 0;
  std::int64_t hidden = 0;
  std::int64_t context = 0;  ///< learned positions; 0: none
  double deviation = 0.02;
  double dropout = 0.0;
};

/// The part of the vocabulary that a rank of the tensor axis holds; parts differ by at most a row.
ShardSpec vocabulary_shard(const Build& build, std::int64_t vocabulary, std::int64_t hidden);

/// i32 [batch, time] -> [batch, time, hidden]. Parameters NAME.token.weight [vocabulary, hidden] and
/// NAME.position.weight [context, hidden].
class Embedding final : public Layer {
 public:
  Embedding(const Build& build, const std::string& name, const EmbeddingOptions& options);
  Tensor forward(const Context& context, const Tensor& tokens, Saved& saved) const override;
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  std::int64_t hidden_;
  std::int64_t first_token_;
  bool adds_positions_;  ///< on the first rank only: the sum over ranks then holds them once
  Parameter* table_;
  Parameter* positions_ = nullptr;
  Dropout dropout_;
};

}  // namespace trireme
