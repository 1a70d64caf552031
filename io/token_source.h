// Samples of language models: windows of a long run of tokens.
#pragma once

#include <memory>
#include <mutex>

#include "io/dataset.h"
#include "io/sample_order.h"
#include "io/source.h"

namespace trireme {

/// Fields: tokens i32 [context], and targets i32 [context], each the token that follows; -1 where nothing counts.
///
/// Sample i of the data set is tokens [i * context, (i + 1) * context]: windows that share one token. In training,
/// sample s of the run is the one that SampleOrder(seed) puts at place s, pass after pass without a gap between them.
class TokenSource final : public Source {
 public:
  /// The data set is the source's alone while it lives. Refuses one without a sample.
  TokenSource(std::shared_ptr<TokenDataset> dataset, int context, const SourceOptions& options);
  std::int64_t samples() const override { return samples_; }
  std::int64_t batches() const override;
  std::vector<Field> fields(std::int64_t batch) const override;
  void read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) override;

 private:
  std::shared_ptr<TokenDataset> dataset_;
  int context_;
  SourceOptions options_;
  std::int64_t samples_;
  SampleOrder order_;
  std::mutex mutex_;                  ///< of the data set, which one thread may use at a time, and of:
  std::vector<std::int32_t> window_;  ///< [context + 1]
};

}  // namespace trireme
