// trireme COMMAND [--config FILE.ini] [--section.key=value ...]
#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "app/commands.h"
#include "app/doctor/start_watch.h"
#include "app/failure.h"
#include "app/file_modes.h"
#include "app/options.h"
#include "app/run_events.h"
#include "comm/mpi/world.h"
#include "kernels/activity.h"

namespace trireme {
namespace {

using Arguments = std::vector<std::string>;

bool is_help(const std::string& argument) { return argument == "--help" || argument == "-h"; }

ExitStatus run_on_all_ranks(Command command, const Arguments& arguments, World& world, FailureReport& failures) {
  const Configuration configuration = parse_command_line(command, arguments);
  switch (command) {
    case Command::train:
      failures.on_report([events = RunEvents(configuration.log.events)](const auto& text) { events.alert(text); });
      return run_train(configuration, world);
    case Command::eval:
      return run_eval(configuration, world);
    case Command::recognize:
      return run_recognize(configuration, world);
    case Command::predict:
      return run_predict(configuration, world);
    case Command::doctor:
      return run_doctor(configuration, world);
    default:
      return run_sample(configuration, world);
  }
}

ExitStatus run_in_world(Command command, const Arguments& arguments, int argc, char** argv) {
  const ActivityThread row("main");
  // Ranks that cannot reach each other hang here: the doctor says so.
  std::optional<StartWatch> watch;
  if (command == Command::doctor) watch.emplace(start_patience(arguments));
  World world(&argc, &argv);
  FailureReport failures(world);
  watch.reset();
  std::optional<Failure> failure;
  try {
    return run_on_all_ranks(command, arguments, world, failures);
  } catch (const std::exception& error) {
    failure.emplace(error);
  }
  return failures.report(*failure);
}

ExitStatus run_alone(Command command, const Arguments& arguments) {
  const Configuration configuration = parse_command_line(command, arguments);
  switch (command) {
    case Command::pack:
      return run_pack(configuration);
    case Command::inspect:
      return run_inspect(configuration);
    case Command::report:
      return run_report(configuration);
    default:
      return run_layout(configuration);
  }
}

ExitStatus run(int argc, char** argv) {
  const Arguments arguments(argv + 1, argv + argc);
  if (arguments.empty()) refuse("found no command, expected one; 'trireme --help' lists them");
  if (is_help(arguments[0])) {
    std::cout << help_text();
    return ExitStatus::done;
  }
  if (arguments[0] == "--version") {
    std::cout << "trireme " << TRIREME_VERSION << '\n';
    return ExitStatus::done;
  }
  const CommandInfo& info = find_command(arguments[0]);
  const Arguments rest(arguments.begin() + 1, arguments.end());
  if (std::ranges::any_of(rest, is_help)) {
    std::cout << help_text(info.command);
    return ExitStatus::done;
  }
  return info.needs_world ? run_in_world(info.command, rest, argc, argv) : run_alone(info.command, rest);
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  using namespace trireme;
  try {
    restrict_file_modes();
    return static_cast<int>(run(argc, argv));
  } catch (const std::exception& error) {
    const Failure failure(error);
    std::cerr << "trireme: " << failure.text() << '\n';
    return static_cast<int>(failure.status);
  }
}
