// The one exception type of the program.
#pragma once

#include <fmt/format.h>

#include <source_location>
#include <stdexcept>
#include <string>

namespace trireme {

/// Exit status of the process. `stopped_early` means that everything is saved and the same command goes on.
enum class ExitStatus { done = 0, failed = 1, invalid_input = 2, stopped_early = 75 };

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitStatus status = ExitStatus::failed,
                 std::source_location where = std::source_location::current());

  ExitStatus status() const { return status_; }
  const std::source_location& where() const { return where_; }
  /// World rank that raised the error; -1 before MPI is up.
  int rank() const { return rank_; }

  /// Rank that is stamped on every error of this process from now on.
  static void set_process_rank(int rank);

 private:
  ExitStatus status_;
  std::source_location where_;
  int rank_;
};

/// A format string that remembers where it was written, so that `fail` and `refuse` report their caller.
template <typename... Arguments>
struct LocatedFormat {
  template <typename Text>
  consteval LocatedFormat(const Text& text, std::source_location at = std::source_location::current())
      : format(text), where(at) {}
  fmt::format_string<Arguments...> format;
  std::source_location where;
};

/// Throws an Error with status 1: something that should have worked did not.
template <typename... Arguments>
[[noreturn]] void fail(LocatedFormat<std::type_identity_t<Arguments>...> text, Arguments&&... arguments) {
  throw Error(fmt::format(text.format, std::forward<Arguments>(arguments)...), ExitStatus::failed, text.where);
}

/// Throws an Error with status 2: the command line, configuration or input data is wrong. The message names
/// the key or file, what was found and what was expected.
template <typename... Arguments>
[[noreturn]] void refuse(LocatedFormat<std::type_identity_t<Arguments>...> text, Arguments&&... arguments) {
  throw Error(fmt::format(text.format, std::forward<Arguments>(arguments)...), ExitStatus::invalid_input, text.where);
}

}  // namespace trireme
