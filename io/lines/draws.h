// Random numbers that one thing (a line of a data set) draws one after the other, whoever makes it.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>

#include "kernels/philox.h"

namespace trireme {

class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

  std::uint32_t word() {
    if (used_ == words_.size()) {
      words_ = philox(seed_, stream_, counter_++);
      used_ = 0;
    }
    return words_[used_++];
  }
  /// In [0, 1).
  double uniform() { return static_cast<double>(uniform_float(word())); }
  double between(double low, double high) { return low + (high - low) * uniform(); }
  bool chance(double probability) { return uniform() < probability; }
  /// 0..count-1.
  int below(int count) { return static_cast<int>(std::uint64_t{word()} * static_cast<std::uint64_t>(count) >> 32); }
  /// low..high.
  int among(int low, int high) { return low + below(high - low + 1); }
  template <typename T>
  const T& one_of(std::span<const T> items) {
    return items[static_cast<std::size_t>(below(static_cast<int>(items.size())))];
  }
  template <typename T, std::size_t count>
  const T& one_of(const std::array<T, count>& items) {
    return one_of(std::span<const T>(items));
  }
  /// Standard normal (Box and Muller 1958).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  std::uint64_t seed_, stream_;
  std::uint64_t counter_ = 0;
  std::array<std::uint32_t, 4> words_{};
  std::size_t used_ = 4;
};

}  // namespace trireme
