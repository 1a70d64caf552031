#include "app/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

#include "kernels/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

std::string error_text() { return std::generic_category().message(errno); }

int open_file(const fs::path& file, int flags) {
  const int descriptor = ::open(file.c_str(), flags | O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) refuse("log.metrics: '{}' cannot be written: {}", file.string(), error_text());
  return descriptor;
}

void write_all(int descriptor, std::string_view text, const fs::path& file) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("log.metrics: writing '{}': {}", file.string(), error_text());
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// Step of a metrics line, or nothing where it is not one.
std::optional<std::int64_t> step_of(std::string_view line) {
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) return {};
  const auto step = object.find("step");
  if (step == object.end() || !step->is_number_integer()) return {};
  return step->get<std::int64_t>();
}

/// The lines up to `last_step`, each with its line end.
std::string kept_lines(std::string_view text, std::int64_t last_step, const fs::path& file) {
  std::string kept;
  for (int number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const bool is_last = end == std::string_view::npos || end + 1 == text.size();
    const auto step = step_of(line);
    if (!step && !is_last)
      refuse("log.metrics: {}:{}: found '{}', expected a JSON object with a step", file.string(), number,
             line.substr(0, 60));
    if (step && *step <= last_step) kept.append(line).append("\n");
    text.remove_prefix(is_last ? text.size() : end + 1);
  }
  return kept;
}

void replace_file(const fs::path& file, const std::string& text) {
  const fs::path temporary = file.string() + ".partial";
  const int descriptor = open_file(temporary, O_TRUNC);
  try {
    write_all(descriptor, text, temporary);
    if (::fsync(descriptor) != 0) fail("log.metrics: flushing '{}': {}", temporary.string(), error_text());
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  ::close(descriptor);
  fs::rename(temporary, file);
}

}  // namespace

std::string to_json(const StepMetrics& metrics) {
  nlohmann::ordered_json object = {{"step", metrics.step},
                                   {"loss", metrics.loss},
                                   {"grad_norm", metrics.grad_norm},
                                   {"learning_rate", metrics.learning_rate},
                                   {"samples", metrics.samples},
                                   {"tokens", metrics.tokens},
                                   {"step_seconds", metrics.step_seconds},
                                   {"tokens_per_second", metrics.tokens_per_second},
                                   {"data_wait_seconds", metrics.data_wait_seconds},
                                   {"checkpoint_stall_seconds", metrics.checkpoint_stall_seconds}};
  if (metrics.validation_loss) object["validation_loss"] = *metrics.validation_loss;
  return object.dump();
}

MetricsLog::MetricsLog(const fs::path& file, std::int64_t last_step) : file_(file), descriptor_(-1) {
  std::error_code ignored;  // open_file tells what is wrong
  if (file.has_parent_path()) fs::create_directories(file.parent_path(), ignored);
  if (fs::is_regular_file(file)) {                // not a pipe or /dev/null
    const fs::path target = fs::canonical(file);  // a link stays a link
    std::ifstream stream(target, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    const std::string kept = kept_lines(text, last_step, file);
    if (kept != text) replace_file(target, kept);
  }
  descriptor_ = open_file(file, O_APPEND);
}

MetricsLog::~MetricsLog() { ::close(descriptor_); }

void MetricsLog::write(const StepMetrics& metrics) { write_all(descriptor_, to_json(metrics) + "\n", file_); }

}  // namespace trireme
