// The subcommands: what the command line can ask for.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "app/configuration.h"
#include "kernels/error.h"

namespace trireme {

class World;

enum class Command : std::uint8_t { train, eval, sample, recognize, predict, pack, inspect, layout, doctor, report };

struct CommandInfo {
  Command command;
  std::string_view name;
  std::string_view arguments;  ///< what comes before the options
  std::string_view summary;
  bool needs_world;  ///< runs on all ranks of the job, so MPI is started for it
};

/// All commands, in the order in which help lists them.
std::span<const CommandInfo> command_list();
const CommandInfo& info_of(Command command);
/// Refuses an unknown name with the nearest known one.
const CommandInfo& find_command(std::string_view name);

ExitStatus run_train(const Configuration& configuration, World& world);
ExitStatus run_eval(const Configuration& configuration, World& world);
ExitStatus run_sample(const Configuration& configuration, World& world);
ExitStatus run_recognize(const Configuration& configuration, World& world);
ExitStatus run_predict(const Configuration& configuration, World& world);
ExitStatus run_pack(const Configuration& configuration);
ExitStatus run_inspect(const Configuration& configuration);
ExitStatus run_report(const Configuration& configuration);
ExitStatus run_layout(const Configuration& configuration);
ExitStatus run_doctor(const Configuration& configuration, World& world);

}  // namespace trireme
