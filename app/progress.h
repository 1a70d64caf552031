// What a person sees while a run goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <utility>

#include "app/configuration.h"
#include "app/metrics.h"

namespace trireme {

/// "8s", "3m05s", "1h02m", "2d03h"; "-" where it is not known (negative or not finite).
std::string format_duration(double seconds);
/// Three digits and a unit: "987", "12.3k", "4.56M".
std::string format_count(double value);

/// Seconds a step, smoothed: each step weighs a tenth; the first steps count as their mean.
class StepClock {
 public:
  void add(double seconds);
  double seconds() const;  ///< -1 before the first step

 private:
  double weighted_ = 0, weight_ = 0;
};

/// "step 20/100  loss 3.2100  lr 0.0006  grad 1.02  12.3k tokens/s  data wait 1%  ETA 1h02m"
std::string format_plain(const StepMetrics& metrics, std::int64_t steps, double eta_seconds);
/// "20/100  20% [==        ] loss 3.2100  12.3k tokens/s  wait 1%  ETA 1h02m", at most `columns` characters: the bar
/// takes what the figures leave.
std::string format_bar(const StepMetrics& metrics, std::int64_t steps, double eta_seconds, int columns);

/// Whether stderr is a terminal, and its width (80 where it does not tell).
bool stderr_is_terminal();
int terminal_columns();

/// Shows the steps of a run on a stream. Used by one rank.
class Progress {
 public:
  /// `kind` automatic: a bar on a terminal, else plain lines. `steps`: last step of the run.
  Progress(const LogOptions& options, std::int64_t steps, std::ostream& out, bool is_terminal);
  ~Progress();  ///< leaves the cursor on a new line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step(const StepMetrics& metrics);
  /// A line of its own, above the bar: a validation result, a checkpoint. Not shown where the kind is none.
  void note(const std::string& text);
  /// The same, for what must be seen: shown in any case, and told to `listener`.
  void warn(const std::string& text);
  void on_warning(std::function<void(const std::string& text)> listener) { listener_ = std::move(listener); }

 private:
  void show(const std::string& text);

  std::ostream& out_;
  std::function<void(const std::string&)> listener_;
  ProgressKind kind_;
  int every_;
  std::int64_t steps_;
  StepClock clock_;
  std::int64_t first_step_ = -1;
  std::string bar_;  ///< what stands on the line now
};

}  // namespace trireme
