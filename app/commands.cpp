#include "app/commands.h"

#include <algorithm>
#include <array>

#include "app/edit_distance.h"

namespace trireme {
namespace {

constexpr std::array commands{
    CommandInfo{Command::train, "train", "", "train; resumes from the newest complete checkpoint", true},
    CommandInfo{Command::eval, "eval", "", "loss and metrics of a checkpoint on a data set", true},
    CommandInfo{Command::sample, "sample", "", "generate text from a checkpoint", true},
    CommandInfo{Command::recognize, "recognize", "IMAGE...", "read pictures of text lines with a checkpoint", true},
    CommandInfo{Command::predict, "predict", "TEXT...|IMAGE...", "labels of texts or classes of images", true},
    CommandInfo{Command::pack, "pack", "text|labels|images|ocr", "pack raw data into an HDF5 data set", false},
    CommandInfo{Command::inspect, "inspect", "PATH", "describe a checkpoint or a data set", false},
    CommandInfo{Command::layout, "layout", "", "ranks and layout of a training job on the ranks at hand", false},
    CommandInfo{Command::doctor, "doctor", "", "check ranks, network and disk before a run", true},
    CommandInfo{Command::report, "report", "RUN...", "draw what runs have measured on one HTML page", false},
};

}  // namespace

std::span<const CommandInfo> command_list() { return commands; }

const CommandInfo& info_of(Command command) { return commands[static_cast<std::size_t>(command)]; }

const CommandInfo& find_command(std::string_view name) {
  const auto found = std::ranges::find(commands, name, &CommandInfo::name);
  if (found != commands.end()) return *found;
  const auto nearest =
      std::ranges::min_element(commands, {}, [&](const CommandInfo& info) { return edit_distance(name, info.name); });
  refuse("unknown command '{}'; did you mean '{}'? 'trireme --help' lists the commands", name, nearest->name);
}

}  // namespace trireme
