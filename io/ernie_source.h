// Samples of ERNIE's pre-training: pairs of text with parts masked, in their order or the other way round.
#pragma once

#include <memory>
#include <mutex>

#include "io/dataset.h"
#include "io/knowledge_mask.h"
#include "io/sample_order.h"
#include "io/source.h"

namespace trireme {

struct ErnieSourceOptions {
  int context = 128;  ///< tokens of a sample, special ones included
  MaskOptions mask;   ///< vocabulary and seed are taken from data set and source
  bool sentence_order = false;
};

/// Fields, all i32, of numbers below: -1 is nothing.
///   0 tokens    [context]  [CLS] first part [SEP] second part [SEP] [PAD] ..., masked
///   1 segments  [context]  0 in the first part, 1 in the second
///   2 length    []         tokens before the padding
///   3 positions [slots]    where the tokens to guess are
///   4 targets   [slots]    what they were
///   5 levels    [slots]    UnitLevel of what each was masked with
///   6 order     []         1: the parts have changed places; 0: they have not; -1: there is nothing to tell
///
/// Sample i of the data set is its tokens [i * body, (i + 1) * body), body = context - 3, over the ends of documents,
/// whose [SEP] stays. It is parted where a sentence begins. In training, everything is drawn anew in every pass: it
/// depends on (seed, place in the run) alone. In an evaluation a sample is always the same.
class ErnieSource final : public Source {
 public:
  /// The data set is the source's alone while it lives. Refuses one that has no units.
  ErnieSource(std::shared_ptr<TokenDataset> dataset, const ErnieSourceOptions& options, const SourceOptions& how);
  std::int64_t samples() const override { return samples_; }
  std::int64_t batches() const override { return (samples_ + how_.global_batch - 1) / how_.global_batch; }
  std::vector<Field> fields(std::int64_t batch) const override;
  void read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) override;

  static constexpr int specials = 3;  ///< [CLS] and two [SEP]
  /// Room for tokens to guess.
  static int slots(double share, int context) { return most_masked(share, context - specials); }

 private:
  std::shared_ptr<TokenDataset> dataset_;
  ErnieSourceOptions options_;
  SourceOptions how_;
  int slots_;
  std::int64_t samples_;
  SampleOrder order_;
  std::mutex mutex_;  ///< of the data set, which one thread may use at a time
};

}  // namespace trireme
