// What the fuzz targets read from libFuzzer's bytes. Any Error is a good answer; whatever else comes out ends the run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <type_traits>

#include "kernels/error.h"

namespace trireme::fuzz {

/// Numbers out of the bytes of an input, zeros after its end: a short input means few decisions.
class Input {
 public:
  Input(const std::uint8_t* bytes, std::size_t size) : rest_(bytes, size) {}

  bool empty() const { return rest_.empty(); }

  template <typename T>
  T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const std::size_t count = std::min(sizeof(T), rest_.size());
    if (count > 0) std::memcpy(&value, rest_.data(), count);
    rest_ = rest_.subspan(count);
    return value;
  }

  /// A number below `count`, from two bytes.
  std::size_t below(std::size_t count) { return count == 0 ? 0 : take<std::uint16_t>() % count; }

  template <typename Range>
  auto& one_of(Range& range) {
    return *std::next(std::begin(range), static_cast<std::ptrdiff_t>(below(std::size(range))));
  }

 private:
  std::span<const std::uint8_t> rest_;
};

/// Whether the call ends without an Error.
template <typename Call>
bool succeeds(Call call) {
  try {
    call();
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace trireme::fuzz
