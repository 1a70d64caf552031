// Where samples come from: the seam between data sets and the loader.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace trireme {

/// One of the things that a sample is made of.
struct Field {
  std::string name;  ///< "tokens"
  DType type = DType::i32;
  Shape shape;  ///< of one sample; of rank 0: one number
  std::int64_t elements() const { return shape.rank() == 0 ? 1 : shape.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(type); }
  bool operator==(const Field&) const = default;
};

struct SourceOptions {
  int global_batch = 1;
  std::uint64_t seed = 0;
  bool training = true;  ///< false: every sample once, in order, as it is
};

/// Writes a field of i32 [size]: the values, then `rest`.
inline void fill_field(std::byte* field, std::span<const std::int32_t> values, std::int64_t size, std::int32_t rest) {
  auto* const out = reinterpret_cast<std::int32_t*>(field);
  std::fill(std::copy(values.begin(), values.end(), out), out + size, rest);
}

/// Which samples a run sees, in which order, and what each is made of: a function of the seed and the place in the run
/// alone. Batches of `global_batch` samples are numbered from 0 over the whole run. All samples of a batch have fields
/// of the same shapes; batches may differ (lines of text of several widths).
class Source {
 public:
  virtual ~Source() = default;
  /// Samples of one pass over the data.
  virtual std::int64_t samples() const = 0;
  /// Batches that hold all samples once: what an evaluation takes.
  virtual std::int64_t batches() const = 0;
  /// The fields of that batch's samples; always the same ones, in the same order.
  virtual std::vector<Field> fields(std::int64_t batch) const = 0;
  /// Writes sample `index` of a batch: fields[i] points to the room for field i. Called by several threads at once. In
  /// an evaluation, what fills up a batch past the end of the data is a sample that does not count: it has no targets.
  virtual void read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) = 0;
};

}  // namespace trireme
