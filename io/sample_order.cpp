#include "io/sample_order.h"

#include <bit>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace trireme {
namespace {

constexpr int feistel_rounds = 6;

}  // namespace

SampleOrder::SampleOrder(std::int64_t size, std::uint64_t seed, bool shuffle)
    : size_(size), seed_(seed), shuffle_(shuffle), half_bits_(1) {
  if (size < 1) fail("a sample order of {} samples", size);
  const int bits = std::bit_width(static_cast<std::uint64_t>(size - 1));
  if (bits > 2) half_bits_ = (bits + 1) / 2;
}

std::int64_t SampleOrder::operator()(std::int64_t position) const {
  if (position < 0) fail("place {} of a sample order", position);
  if (!shuffle_) return position % size_;
  const std::uint64_t stream = stream_of("sample order") + static_cast<std::uint64_t>(position / size_);
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  // The network permutes 0..4^half_bits-1, at most four times too many: walk its cycle until it is back inside.
  auto value = static_cast<std::uint64_t>(position % size_);
  do {
    std::uint64_t left = value >> half_bits_;
    std::uint64_t right = value & mask;
    for (std::uint64_t round = 0; round < feistel_rounds; ++round) {
      const std::uint64_t mixed = left ^ (philox(seed_, stream, round << 32 | right)[0] & mask);
      left = right;
      right = mixed;
    }
    value = left << half_bits_ | right;
  } while (value >= static_cast<std::uint64_t>(size_));
  return static_cast<std::int64_t>(value);
}

}  // namespace trireme
