#include "app/options.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <fstream>
#include <iterator>
#include <sstream>

#include "app/ini.h"
#include "app/option_table.h"

namespace trireme {
namespace {

namespace po = boost::program_options;

constexpr std::size_t largest_file = std::size_t{1} << 20;

/// What one source (a file, or the command line) says about one key.
struct Setting {
  const Option* option;
  std::string where;
  std::vector<std::string> values;
};

/// The settings of one source, in the order in which they were given.
class Settings {
 public:
  void add(const std::string& key, const std::string& where, std::vector<std::string> values) {
    const Option* option = find_option(key);
    if (option == nullptr) refuse("unknown key '{}' ({}); did you mean '{}'?", key, where, nearest_option(key).key);
    const auto known = std::ranges::find(settings_, option, &Setting::option);
    if (known == settings_.end()) {
      settings_.push_back({option, where, std::move(values)});
    } else if (option->is_list) {
      std::ranges::move(values, std::back_inserter(known->values));
    } else {
      refuse("{} is given twice ({}, then {}); expected one value", key, known->where, where);
    }
  }

  void apply(Configuration& configuration) const {
    for (const auto& [option, where, values] : settings_) {
      if (!option->read(configuration, values))
        refuse("{} ({}): found '{}', expected {}", option->key, where, fmt::join(values, " "), option->expected);
    }
  }

 private:
  std::vector<Setting> settings_;
};

Settings settings_of_ini(const std::string& text, const std::string& name) {
  Settings settings;
  for (const auto& [key, value, line] : read_ini(text, name)) {
    const std::string where = fmt::format("{}:{}", name, line);
    const Option* option = find_option(key);
    const bool is_list = option != nullptr && option->is_list;
    auto values = split_value(value, is_list ? ", \t" : "", where);
    if (values.empty() && !is_list) values.emplace_back();
    settings.add(key, where, std::move(values));
  }
  return settings;
}

std::string read_file(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  if (!file || std::filesystem::is_directory(name))
    refuse("--config: found no file '{}', expected an INI file that can be read", name);
  std::string text(largest_file + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > largest_file)
    refuse("--config: '{}' has more than {} bytes, expected an INI file", name, largest_file);
  return text;
}

/// The table's key of what was written on the command line, without the leading dashes.
std::string full_key(Command command, std::string name) {
  std::ranges::replace(name, '-', '_');
  std::string own = fmt::format("{}.{}", info_of(command).name, name);
  return find_option(own) != nullptr ? own : name;
}

/// Spells keys in full, and gives flags and empty values the form that Boost's parser reads.
std::vector<std::string> normalise(Command command, std::span<const std::string> arguments) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) {
      result.push_back(argument);
      continue;
    }
    const auto equals = argument.find('=');
    const std::string key = full_key(command, argument.substr(2, equals - 2));
    const Option* option = find_option(key);
    const bool value_follows = i + 1 < arguments.size() && (arguments[i + 1] == "true" || arguments[i + 1] == "false");
    if (equals != std::string::npos && equals + 1 < argument.size()) {
      result.push_back("--" + key + argument.substr(equals));
    } else if (equals != std::string::npos) {
      result.insert(result.end(), {"--" + key, ""});
    } else if (option != nullptr && option->is_flag && !value_follows) {
      result.push_back("--" + key + "=true");
    } else {
      result.push_back("--" + key);
    }
  }
  return result;
}

/// How a key is written in a command's help: its own section is left out.
std::string shown_key(Command command, const std::string& key) {
  const std::string section = fmt::format("{}.", info_of(command).name);
  if (!key.starts_with(section) || command == Command::train) return key;
  std::string name = key.substr(section.size());
  std::ranges::replace(name, '_', '-');
  return name;
}

po::options_description describe_all() {
  po::options_description description;
  description.add_options()("config", po::value<std::string>());
  for (const Option& option : option_table()) {
    if (option.is_list) {
      description.add_options()(option.key.c_str(), po::value<std::vector<std::string>>()->multitoken());
    } else {
      description.add_options()(option.key.c_str(), po::value<std::string>());
    }
  }
  return description;
}

std::vector<po::option> parse_tokens(const std::vector<std::string>& tokens) {
  namespace style = po::command_line_style;
  try {
    return po::command_line_parser(tokens)
        .options(describe_all())
        .style(style::allow_long | style::long_allow_adjacent | style::long_allow_next)
        .allow_unregistered()
        .run()
        .options;
  } catch (const po::error& error) {
    refuse("command line: {}", error.what());
  }
}

std::vector<std::string> split_at_commas(const std::vector<std::string>& values) {
  std::vector<std::string> items;
  for (const std::string& value : values) {
    std::istringstream stream(value);
    for (std::string item; std::getline(stream, item, ',');) items.push_back(item);
  }
  return items;
}

/// Key that an argument without a name stands for.
std::string positional_key(Command command, const std::string& argument) {
  if (command == Command::pack) return "pack.kind";
  if (command == Command::inspect) return "inspect.path";
  if (command == Command::report) return "report.runs";
  if (command == Command::recognize) return "recognize.images";
  if (command == Command::predict) return "predict.items";
  refuse("command line: found '{}', expected --section.key=value", argument);
}

}  // namespace

Configuration parse_command_line(Command command, std::span<const std::string> arguments) {
  const std::string here = "command line";
  Settings from_command_line;
  std::string file;
  for (const auto& token : parse_tokens(normalise(command, arguments))) {
    if (token.string_key == "config") {
      if (!file.empty()) refuse("--config is given twice ('{}' and '{}'); expected one file", file, token.value.at(0));
      file = token.value.at(0);
    } else if (token.string_key.empty()) {
      from_command_line.add(positional_key(command, token.value.at(0)), here, token.value);
    } else {
      const Option* option = find_option(token.string_key);
      const bool is_list = option != nullptr && option->is_list;
      from_command_line.add(token.string_key, here, is_list ? split_at_commas(token.value) : token.value);
    }
  }
  Configuration configuration;
  if (!file.empty()) settings_of_ini(read_file(file), file).apply(configuration);
  from_command_line.apply(configuration);
  return configuration;
}

Configuration parse_ini(const std::string& text, const std::string& name) {
  Configuration configuration;
  settings_of_ini(text, name).apply(configuration);
  return configuration;
}

std::string to_ini(const Configuration& configuration) {
  std::string text;
  std::string section;
  for (const Option& option : option_table()) {
    const auto dot = option.key.find('.');
    if (option.key.substr(0, dot) != section) {
      section = option.key.substr(0, dot);
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    }
    std::vector<std::string> values = option.write(configuration);
    std::ranges::transform(values, values.begin(), quote_value);
    text += fmt::format("{} = {}\n", option.key.substr(dot + 1), fmt::join(values, " "));
  }
  return text;
}

std::string help_text() {
  std::string text =
      "Trireme trains neural networks with data, tensor and pipeline parallelism.\n\n"
      "usage: trireme COMMAND [--config FILE.ini] [--section.key=value ...]\n\ncommands:\n";
  for (const CommandInfo& info : command_list()) text += fmt::format("  {:<9} {}\n", info.name, info.summary);
  return text +
         "\n'trireme COMMAND --help' lists the keys of a command, 'trireme --version' tells the version.\n"
         "Started by mpirun or srun, train, eval, sample, recognize, predict and doctor run on all ranks.\n"
         "exit status: 0 done; 1 failed; 2 wrong command line, configuration or input data;\n"
         "             75 stopped early with everything saved: run the same command again to go on\n";
}

std::string help_text(Command command) {
  const CommandInfo& info = info_of(command);
  po::options_description keys("keys", 110);
  keys.add_options()("config", po::value<std::string>()->value_name("path"), "INI file; the command line wins over it");
  const Configuration defaults;
  for (const Option& option : option_table()) {
    if (!option.used_by(command)) continue;
    auto* value = po::value<std::string>()->value_name(option.type);
    const std::string shown = fmt::format("{}", fmt::join(option.write(defaults), " "));
    if (!shown.empty()) value->default_value(shown);
    keys.add_options()(shown_key(command, option.key).c_str(), value, option.help.c_str());
  }
  std::ostringstream text;
  text << fmt::format("usage: trireme {}{}{} [--config FILE.ini] [--section.key=value ...]\n{}\n\n", info.name,
                      info.arguments.empty() ? "" : " ", info.arguments, info.summary)
       << keys;
  return text.str();
}

}  // namespace trireme
