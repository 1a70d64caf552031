// Sums gradients over the data-parallel ranks while the backward pass is still running.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "model/parameter.h"

namespace trireme {

/// Buckets are ranges of the gradient arena. The backward pass completes blocks from the last to the first, so complete
/// gradients grow from the arena's end.
class GradientReducer {
 public:
  /// block_first[b] is the first arena element of block b, ascending. A bucket is sent when at least bucket_elements
  /// are complete, in pieces of at most twice that.
  GradientReducer(Communicator& data, ParameterStore& store, std::vector<std::int64_t> block_first,
                  std::int64_t bucket_elements = std::int64_t{4} << 20);

  /// The gradients of `block` and of all blocks after it are complete. Starts what fills a bucket; lets what is under
  /// way progress.
  void block_ready(int block);
  /// Sends what is left, what is tracked included, and waits for all.
  void finish();

 private:
  void send(std::int64_t first, std::int64_t end);

  Communicator& data_;
  ParameterStore& store_;
  std::vector<std::int64_t> block_first_;
  std::int64_t bucket_elements_;
  std::int64_t sent_from_;  ///< elements from here on are on their way
  std::vector<Request> requests_;
};

}  // namespace trireme
