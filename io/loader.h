// Feeds a rank with its share of every step, read ahead by a thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "io/dataset.h"
#include "io/sample_order.h"

namespace trireme {

/// Samples of one step on one data-parallel rank: context + 1 tokens each.
struct TokenBatch {
  std::int64_t first_sample = 0;  ///< global number of the first sample
  int samples = 0;
  int context = 0;
  std::vector<std::int32_t> inputs;   ///< [samples, context]
  std::vector<std::int32_t> targets;  ///< [samples, context], inputs shifted by one
};

struct LoaderOptions {
  int context = 0;
  int global_batch = 0;
  int data_rank = 0, data_ranks = 1;  ///< this rank takes samples [rank, rank + 1) * global_batch / ranks of each step
  std::uint64_t seed = 0;
  bool shuffle = true;
  std::int64_t first_sample = 0;  ///< samples consumed before: where to go on
  int read_ahead = 4;             ///< batches, at least 1
};

/// Sample i of the data set is tokens [i * context, (i + 1) * context]: windows that share one token. Sample s of the
/// run is the one that SampleOrder(seed) puts at place s; step k takes [k, k + 1) * global_batch of the run, whatever
/// the number of ranks. Steady state allocates nothing of ours. The data set is the loader's alone while it lives.
class TokenLoader {
 public:
  /// Refuses a data set without a sample, and a global batch that the ranks cannot share evenly.
  TokenLoader(std::shared_ptr<TokenDataset> dataset, const LoaderOptions& options);
  ~TokenLoader();  ///< stops the thread
  /// The next step's batch; waits for it. Rethrows what the thread met. The reference stays valid until the next call.
  const TokenBatch& next();
  /// Seconds that the last `next` waited.
  double last_wait() const;

  /// Samples in one pass over the data set; refuses a set with none.
  static std::int64_t samples_in(const TokenDataset& dataset, int context);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
