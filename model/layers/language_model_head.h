// Final norm, output matrix over the vocabulary (split between the ranks of the tensor axis), and loss.
#pragma once

#include <string>

#include "model/layer.h"
#include "model/layers/norm.h"

namespace trireme {

struct LanguageModelHeadOptions {
  std::int64_t vocabulary = 0;
  std::int64_t hidden = 0;
  NormKind norm = NormKind::layer;
  bool bias = true;        ///< of the norm
  std::string table;       ///< name of the [vocabulary, hidden] output matrix; the embedding's, where tied
  bool first_copy = true;  ///< false where another stage holds the tied table too, and writes it
  double deviation = 0.02;
};

/// [batch, time, hidden] -> f64 [1, 2], the sum of the tokens' cross-entropies with field 1 of the microbatch, and
/// their number; without that field the logits of this rank's part of the vocabulary, [batch, time, vocabulary here].
/// The gradient over the logits takes the place of the logits: there is never a second tensor of their size.
class LanguageModelHead final : public Layer {
 public:
  LanguageModelHead(const Build& build, const std::string& norm_name, const LanguageModelHeadOptions& options);
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override;
  /// dy is not read: the loss is the end of the chain.
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(const Context& context, Saved& saved) const override;

 private:
  Tensor loss(const Context& context, const Tensor& logits, Saved& saved) const;

  Norm norm_;
  Parameter* table_;
  std::int64_t first_token_;
};

}  // namespace trireme
