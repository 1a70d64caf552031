// Sorts the rows of a batch by token, rows of equal tokens in their order, on the device and without atomics: a radix
// sort from the least significant digit on (Knuth, The Art of Computer Programming 3, section 5.2.5).
#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/runtime.h"

namespace trireme::cuda {

/// Row rows[i] has token keys[i], counted from the first of the table; ascending keys, equal ones with ascending rows.
struct SortedTokens {
  std::int32_t *keys, *rows;
};

class TokenSort {
 public:
  /// Enqueues the sort of `tokens`, i32 of any shape. Those outside [first_token, first_token + vocabulary) get the key
  /// `vocabulary` and so come last.
  TokenSort(Backend& backend, cudaStream_t stream, const Tensor& tokens, std::int64_t first_token,
            std::int64_t vocabulary);
  /// Valid as long as this object, in work enqueued after the sort.
  SortedTokens sorted() const { return sorted_; }

 private:
  Tensor scratch_;
  SortedTokens sorted_{};
};

}  // namespace trireme::cuda
