#include "app/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "kernels/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

constexpr const char* validation_key = "validation_loss";

std::string error_text() { return std::generic_category().message(errno); }

int open_file(const fs::path& file, int flags) {
  const int descriptor = ::open(file.c_str(), flags | O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) refuse("log.metrics: '{}' cannot be written: {}", file.string(), error_text());
  return descriptor;
}

/// How many bytes could be written; errno tells why not all.
std::size_t write_some(int descriptor, std::string_view text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(descriptor, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break;
    done += static_cast<std::size_t>(written);
  }
  return done;
}

[[noreturn]] void fail_writing(const fs::path& file) {
  fail("log.metrics: writing '{}': {}", file.string(), error_text());
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

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Where the last line of a text begins; every line has its end.
std::size_t last_line(const std::string& text) {
  const auto end = text.size() < 2 ? std::string::npos : text.rfind('\n', text.size() - 2);
  return end == std::string::npos ? 0 : end + 1;
}

void replace_file(const fs::path& file, const std::string& text) {
  const fs::path temporary = file.string() + ".partial";
  const int descriptor = open_file(temporary, O_TRUNC);
  try {
    if (write_some(descriptor, text) < text.size()) fail_writing(temporary);
    if (::fsync(descriptor) != 0) fail("log.metrics: flushing '{}': {}", temporary.string(), error_text());
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  ::close(descriptor);
  fs::rename(temporary, file);
}

void add(nlohmann::ordered_json& object, const Measured& validation) {
  for (const auto& [name, value] : validation) object["validation_" + name] = value;
}

}  // namespace

std::string to_json(const StepMetrics& metrics, bool timing) {
  nlohmann::ordered_json object = {{"step", metrics.step},
                                   {"loss", metrics.loss},
                                   {"grad_norm", metrics.grad_norm},
                                   {"learning_rate", metrics.learning_rate},
                                   {"samples", metrics.samples}};
  if (metrics.tokens > 0) object["tokens"] = metrics.tokens;
  if (timing) {
    object["step_seconds"] = metrics.step_seconds;
    object[fmt::format("{}_per_second", metrics.unit())] = metrics.per_second;
    object["data_wait_seconds"] = metrics.data_wait_seconds;
    object["checkpoint_stall_seconds"] = metrics.checkpoint_stall_seconds;
  }
  add(object, metrics.validation);
  return object.dump();
}

std::int64_t last_step_in(const fs::path& file) {
  if (!fs::is_regular_file(file)) return 0;
  std::string text = text_of(file);
  const auto last_end = text.rfind('\n');
  text.erase(last_end == std::string::npos ? 0 : last_end + 1);  // a line that a crash cut short
  return step_of(text.substr(last_line(text))).value_or(0);
}

MetricsLog::MetricsLog(const fs::path& file, std::int64_t last_step, bool timing) : file_(file), timing_(timing) {
  std::error_code ignored;  // open_file tells what is wrong
  if (file.has_parent_path()) fs::create_directories(file.parent_path(), ignored);
  if (fs::is_regular_file(file)) {                // not a pipe or /dev/null
    const fs::path target = fs::canonical(file);  // a link stays a link
    const std::string text = text_of(target);
    const std::string kept = kept_lines(text, last_step, file);
    if (kept != text) replace_file(target, kept);
    const auto last = nlohmann::ordered_json::parse(kept.substr(last_line(kept)), nullptr, false);
    lacks_validation_ = last.is_object() && last["step"] == last_step && !last.contains(validation_key);
  }
  descriptor_ = open_file(file, O_APPEND);
}

void MetricsLog::amend(const Measured& validation) {
  const fs::path target = fs::canonical(file_);
  std::string text = text_of(target);
  auto line = nlohmann::ordered_json::parse(text.substr(last_line(text)));
  add(line, validation);
  replace_file(target, text.erase(last_line(text)) + line.dump() + "\n");
  ::close(std::exchange(descriptor_, open_file(file_, O_APPEND)));
  lacks_validation_ = false;
}

void MetricsLog::write(const StepMetrics& metrics) {
  const std::lock_guard lock(mutex_);
  waiting_ += to_json(metrics, timing_) + "\n";
  waiting_.erase(0, write_some(descriptor_, waiting_));
}

bool MetricsLog::waiting() const {
  const std::lock_guard lock(mutex_);
  return !waiting_.empty();
}

void MetricsLog::sync() {
  {
    const std::lock_guard lock(mutex_);
    waiting_.erase(0, write_some(descriptor_, waiting_));
    if (!waiting_.empty()) fail_writing(file_);
  }
  // A pipe has no disk.
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS)
    fail("log.metrics: flushing '{}': {}", file_.string(), error_text());
}

MetricsLog::~MetricsLog() { ::close(descriptor_); }

}  // namespace trireme
