// Feeds a rank with its share of every step, read ahead by threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "io/source.h"

namespace trireme {

/// Samples of one step on one data-parallel rank.
struct Batch {
  std::int64_t number = 0;        ///< of the step, from 0
  std::int64_t first_sample = 0;  ///< global number of the first sample in the run
  int samples = 0;
  std::vector<Field> fields;                 ///< as the source says
  std::vector<std::vector<std::byte>> data;  ///< of each field, all samples one after the other

  template <typename T>
  std::span<const T> values(std::size_t field) const {
    return {reinterpret_cast<const T*>(data[field].data()), data[field].size() / sizeof(T)};
  }
};

struct LoaderOptions {
  int global_batch = 0;
  int data_rank = 0, data_ranks = 1;  ///< this rank takes samples [rank, rank + 1) * global_batch / ranks of each step
  std::int64_t first_batch = 0;       ///< steps done before: where to go on
  int read_ahead = 4;                 ///< batches, at least 1
  int workers = 1;                    ///< threads
};

/// Steady state allocates nothing of ours. Sources are asked for every sample once, in any order within a few batches.
class Loader {
 public:
  /// Refuses a global batch that the ranks cannot share evenly.
  Loader(std::shared_ptr<Source> source, const LoaderOptions& options);
  ~Loader();  ///< stops the threads
  /// The next step's batch; waits for it. Rethrows what a thread met in it. The reference stays valid until the next
  /// call.
  const Batch& next();
  /// Whether the next batch is there, whole and without an error.
  bool ready() const;
  /// Seconds that the last `next` waited.
  double last_wait() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
