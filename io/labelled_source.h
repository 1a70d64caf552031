// Samples of fine-tuning: one document each, with the labels that `trireme pack labels` gave it.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "io/dataset.h"
#include "io/sample_order.h"
#include "io/source.h"

namespace trireme {

/// A text as models read it, of at most `context` tokens: [CLS] text [SEP], or [CLS] text [SEP] other text [SEP].
struct ArrangedText {
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> segments;  ///< 1 in the other text
  std::size_t kept = 0;                ///< tokens of the first text
};

/// `text` has [SEP] before the other text, where there is one. Texts that are too long lose their ends, of two the
/// longer one first.
ArrangedText arrange_text(std::span<const std::int32_t> text, int context);
/// Writes it into fields 0 to 3 of a sample.
void write_text_fields(const ArrangedText& text, int context, std::span<std::byte* const> fields);

/// Fields, all i32:
///   0 tokens    [context]  [CLS] text [SEP], or [CLS] text [SEP] other text [SEP], then [PAD]
///   1 segments  [context]  1 in the other text
///   2 length    []         tokens before the padding
///   3 within    [context]  0 before the padding, -1 in it
///   4 label     []         of the text; or labels [context], of each token, -1 where it has none
class LabelledSource final : public Source {
 public:
  /// The data set is the source's alone while it lives. Refuses one that has no labels.
  LabelledSource(std::shared_ptr<TokenDataset> dataset, int context, const SourceOptions& options);
  std::int64_t samples() const override { return dataset_->documents(); }
  std::int64_t batches() const override { return (samples() + options_.global_batch - 1) / options_.global_batch; }
  std::vector<Field> fields(std::int64_t batch) const override;
  void read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) override;

 private:
  bool labels_tokens() const { return dataset_->labelled_by() == LabelledBy::tokens; }

  std::shared_ptr<TokenDataset> dataset_;
  int context_;
  SourceOptions options_;
  SampleOrder order_;
  std::int32_t label_count_ = 0;
  std::mutex mutex_;  ///< of the data set, which one thread may use at a time
};

}  // namespace trireme
