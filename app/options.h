// Command line and configuration files. Every key stands in app/option_table.cpp; the command line wins over the file.
//
//   trireme COMMAND [--config FILE.ini] [--section.key=value ...]
//
// On the command line a command's own section may be left out, and dashes stand for underscores:
// `trireme pack --validation-share=0.1` is `--pack.validation_share=0.1`. A flag alone means true.
#pragma once

#include <span>
#include <string>

#include "app/commands.h"
#include "app/configuration.h"

namespace trireme {

/// Configuration of a command from what follows its name. Refuses unknown keys (with the nearest known one), values of
/// the wrong type or out of range, keys given twice and unreadable files, naming key and place.
Configuration parse_command_line(Command command, std::span<const std::string> arguments);

/// Every key as INI text; parse_ini gives back an equal configuration.
std::string to_ini(const Configuration& configuration);
/// Refuses like parse_command_line; `name` stands for the file in messages.
Configuration parse_ini(const std::string& text, const std::string& name = "configuration");

std::string help_text();                 ///< of the program
std::string help_text(Command command);  ///< of a command: the keys it uses, with defaults

}  // namespace trireme
