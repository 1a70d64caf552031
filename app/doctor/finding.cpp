#include "app/doctor/finding.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace trireme {
namespace {

/// Three digits of `value` in the largest of the units, each `factor` times the one before.
std::string in_units(double value, double factor, std::initializer_list<const char*> units) {
  const auto* unit = units.begin();
  while (value >= 0.9995 * factor && unit + 1 != units.end()) {
    value /= factor;
    ++unit;
  }
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, value == std::floor(value) ? 0 : digits, *unit);
}

}  // namespace

std::string to_line(const Finding& finding, bool colour) {
  struct Look {
    const char *word, *colour;
  };
  constexpr std::array looks = {Look{"OK", "\x1b[32m"}, Look{"WARN", "\x1b[33m"}, Look{"FAIL", "\x1b[31m"}};
  const Look& look = looks[static_cast<std::size_t>(finding.verdict)];
  return fmt::format("{}{:<4}{}  {:<13}  {}\n", colour ? look.colour : "", look.word, colour ? "\x1b[0m" : "",
                     finding.check, finding.text);
}

std::string format_bytes(double bytes) { return in_units(bytes, 1000, {"B", "kB", "MB", "GB", "TB", "PB"}); }

std::string format_seconds(double seconds) { return in_units(1e6 * seconds, 1000, {"us", "ms", "s"}); }

std::string format_ranges(const std::vector<int>& numbers) {
  std::string text;
  for (std::size_t first = 0; first < numbers.size();) {
    std::size_t last = first;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", numbers[first]);
    if (last > first) text += fmt::format("-{}", numbers[last]);
    first = last + 1;
  }
  return text;
}

}  // namespace trireme
