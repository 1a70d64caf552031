#include "app/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace trireme {
namespace {

constexpr double new_step_share = 0.1;
constexpr const char* erase_line = "\r\x1b[K";

double waiting_percent(const StepMetrics& metrics) {
  return metrics.step_seconds > 0 ? 100 * metrics.data_wait_seconds / metrics.step_seconds : 0;
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e12) return "-";
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  constexpr std::int64_t minute = 60, hour = 60 * minute, day = 24 * hour;
  if (whole < minute) return fmt::format("{}s", whole);
  if (whole < hour) return fmt::format("{}m{:02}s", whole / minute, whole % minute);
  if (whole < day) return fmt::format("{}h{:02}m", whole / hour, whole % hour / minute);
  return fmt::format("{}d{:02}h", whole / day, whole % day / hour);
}

std::string format_count(double value) {
  if (value < 999.5) return fmt::format("{:.0f}", value);
  const char* unit = "kMGTP";
  value /= 1000;
  for (; value >= 999.5 && unit[1] != '\0'; value /= 1000) ++unit;
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, digits, *unit);
}

void StepClock::add(double seconds) {
  // A running mean until a step's weight has come down to the final one.
  weight_ = std::min(weight_ + 1, 1 / new_step_share);
  weighted_ += (seconds - weighted_) / weight_;
}

double StepClock::seconds() const { return weight_ > 0 ? weighted_ : -1; }

std::string format_plain(const StepMetrics& metrics, std::int64_t steps, double eta_seconds) {
  return fmt::format("step {}/{}  loss {:.4f}  lr {:.3g}  grad {:.3g}  {} {}/s  data wait {:.0f}%  ETA {}",
                     metrics.step, steps, metrics.loss, metrics.learning_rate, metrics.grad_norm,
                     format_count(metrics.per_second), metrics.unit(), waiting_percent(metrics),
                     format_duration(eta_seconds));
}

std::string format_bar(const StepMetrics& metrics, std::int64_t steps, double eta_seconds, int columns) {
  const double done =
      steps > 0 ? std::clamp(static_cast<double>(metrics.step) / static_cast<double>(steps), 0., 1.) : 1;
  const std::string head = fmt::format("{}/{} {:3.0f}% ", metrics.step, steps, std::floor(100 * done));
  const std::string tail =
      fmt::format("loss {:.4f}  {} {}/s  wait {:.0f}%  ETA {}", metrics.loss, format_count(metrics.per_second),
                  metrics.unit(), waiting_percent(metrics), format_duration(eta_seconds));
  std::string line = head;
  const int room = std::min(columns - static_cast<int>(head.size() + tail.size()) - 3, 40);
  if (room >= 5) {
    const int filled = static_cast<int>(done * room);
    line += fmt::format("[{}{}] ", std::string(static_cast<std::size_t>(filled), '='),
                        std::string(static_cast<std::size_t>(room - filled), ' '));
  }
  return (line + tail).substr(0, static_cast<std::size_t>(std::max(columns, 0)));
}

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

int terminal_columns() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

Progress::Progress(const LogOptions& options, std::int64_t steps, std::ostream& out, bool is_terminal)
    : out_(out), kind_(options.progress), every_(options.every), steps_(steps) {
  if (kind_ == ProgressKind::automatic) kind_ = is_terminal ? ProgressKind::bar : ProgressKind::plain;
}

Progress::~Progress() {
  if (!bar_.empty()) out_ << std::endl;
}

void Progress::step(const StepMetrics& metrics) {
  clock_.add(metrics.step_seconds);
  if (first_step_ < 0) first_step_ = metrics.step;
  const double eta = clock_.seconds() * static_cast<double>(steps_ - metrics.step);
  if (kind_ == ProgressKind::bar) {
    bar_ = format_bar(metrics, steps_, eta, terminal_columns() - 1);  // a full line would wrap
    out_ << erase_line << bar_ << std::flush;
  } else if (kind_ == ProgressKind::plain) {
    const bool due = metrics.step % every_ == 0 || metrics.step == first_step_ || metrics.step == steps_;
    if (due) out_ << format_plain(metrics, steps_, eta) << std::endl;
  }
}

void Progress::note(const std::string& text) {
  if (kind_ != ProgressKind::none) show(text);
}

void Progress::warn(const std::string& text) {
  show(text);
  if (listener_) listener_(text);
}

void Progress::show(const std::string& text) {
  if (bar_.empty()) {
    out_ << text << std::endl;
  } else {
    out_ << erase_line << text << '\n' << bar_ << std::flush;
  }
}

}  // namespace trireme
