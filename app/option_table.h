// Every key of the configuration, declared once: its type, range or choices, default, unit, help and commands.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "app/commands.h"
#include "app/configuration.h"

namespace trireme {

struct Option {
  std::string key;           ///< "train.steps"
  std::string type;          ///< "integer", "number", "true|false", "text", "path", "paths", or the choices
  std::string expected;      ///< "an integer >= 1"
  std::string help;          ///< one line, unit included
  std::uint32_t commands{};  ///< bit 1 << Command of each command that uses it
  bool is_list = false;
  bool is_flag = false;   ///< on the command line, the name alone means true
  bool is_fixed = false;  ///< a run keeps the value that it began with: what its checkpoints hold depends on it
  /// Stores the values (one, but for lists); false where they are not what is expected.
  std::function<bool(Configuration&, std::span<const std::string>)> read;
  /// The inverse of read. Numbers in the shortest form that reads back to the same bits.
  std::function<std::vector<std::string>(const Configuration&)> write;

  bool used_by(Command command) const { return (commands >> static_cast<unsigned>(command) & 1U) != 0; }
};

/// All keys, sections together.
const std::vector<Option>& option_table();
/// The option of that key, or null.
const Option* find_option(std::string_view key);
/// The known key that looks most like `key`: the right name in the wrong section counts as close.
const Option& nearest_option(std::string_view key);

}  // namespace trireme
