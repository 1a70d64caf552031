// Bidirectional encoders for understanding text: BERT (Devlin et al. 2019) and ERNIE (Sun et al. 2019), pre-trained by
// guessing masked tokens, fine-tuned to give a label to each text or to each token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "model/arch/architecture.h"

namespace trireme {

enum class ErnieTask : std::uint8_t { pretrain, label_texts, label_tokens };

struct ErnieConfig {
  ErnieTask task = ErnieTask::pretrain;
  int layers = 4;
  int hidden = 256;
  int heads = 4;
  int context = 128;     ///< tokens of a sample
  int feed_forward = 0;  ///< inner size; 0: 4 * hidden
  int vocabulary = 0;
  double dropout = 0.0;       ///< of the embedding and of every residual branch
  bool pre_norm = false;      ///< norms stand before attention and feed-forward layers, not after their sums
  double order_weight = 0.0;  ///< pretrain: of the loss of the sentences' order beside that of a masked token; 0: none
  int slots = 0;              ///< pretrain: room for masked tokens in a sample
  double masked = 1;          ///< pretrain: how many of them are expected
  std::vector<std::string> labels;  ///< their names, of the other tasks

  int inner_size() const { return feed_forward > 0 ? feed_forward : 4 * hidden; }
};

/// Fields of a microbatch, i32; the sources in io/ (ErnieSource, LabelledSource) fill them.
struct ErnieFields {
  static constexpr std::size_t tokens = 0, segments = 1, lengths = 2;
  // pretrain
  static constexpr std::size_t positions = 3, targets = 4, levels = 5, order = 6;
  // label_texts, label_tokens
  static constexpr std::size_t within = 3, labels = 4;
};

/// Embedding, `layers` encoder blocks (with pre_norm one norm after them), and the head of the task. Its last block
/// returns logits where the microbatch has no targets: of masked tokens [batch, slots, vocabulary here], of texts
/// [batch, 1, labels] or of tokens [batch, context, labels]. Costs are per sample, on one of `tensor_ranks` ranks with
/// activations of `type`. Refuses sizes that do not fit together, naming the key.
Architecture make_ernie(const ErnieConfig& config, int tensor_ranks, DType type);

}  // namespace trireme
