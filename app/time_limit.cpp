#include "app/time_limit.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace trireme {
namespace {

/// The system's clock, because Slurm speaks of it.
double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

const double program_start = unix_seconds();

std::optional<double> end_of_slurm_job() {
  const char* text = std::getenv("SLURM_JOB_END_TIME");
  if (text == nullptr) return {};
  const std::string_view digits = text;
  std::int64_t end = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), end);
  if (read.ec != std::errc{} || end <= 0) return {};
  return static_cast<double>(end);
}

}  // namespace

TimeLimit::TimeLimit(double time_limit) : end_(end_of_slurm_job()) {
  if (time_limit > 0) end_ = std::min(end_.value_or(program_start + time_limit), program_start + time_limit);
}

std::optional<double> TimeLimit::left() const { return end_ ? std::optional(*end_ - unix_seconds()) : std::nullopt; }

}  // namespace trireme
