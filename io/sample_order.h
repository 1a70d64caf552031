// Which sample comes when: a function of (seed, global sample number) alone.
#pragma once

#include <cstdint>

namespace trireme {

/// A pseudo-random permutation of 0..size-1 for every pass over the data, without a table: a Feistel network with
/// cycle walking (Black and Rogaway 2002), so any position of any epoch costs the same.
class SampleOrder {
 public:
  SampleOrder(std::int64_t size, std::uint64_t seed, bool shuffle = true);
  /// Sample of the data set that comes at place `position` of the run; position / size is the epoch.
  std::int64_t operator()(std::int64_t position) const;

 private:
  std::int64_t size_;
  std::uint64_t seed_;
  bool shuffle_;
  int half_bits_;
};

}  // namespace trireme
