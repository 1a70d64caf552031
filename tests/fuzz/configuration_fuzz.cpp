// The configuration reader. An input is the text of an INI file; behind a zero, arguments, each ended by a zero.
#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "app/option_table.h"
#include "app/options.h"
#include "app/workload.h"
#include "tests/fuzz/input.h"

extern "C" size_t LLVMFuzzerMutate(std::uint8_t* data, size_t size, size_t max_size);

namespace trireme {

/// The choices of model.arch. The program's own list brings all models with it, which the reader does not need.
std::vector<std::string> architectures() { return {"gpt", "other"}; }

namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

/// What was accepted can be written, and comes back the same.
void check_round_trip(const Configuration& configuration) {
  const std::string text = to_ini(configuration);
  require(to_ini(parse_ini(text)) == text, "a configuration that was written does not come back");
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\0'), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

/// A piece of what people write: a key with a likely or unlikely value, a section, a quote.
std::string snippet(std::uint32_t choice) {
  static const std::vector<std::string> values = {
      "",           "0",         "1",     "-1",   "1e400", "nan",        "9223372036854775808",  "auto",
      "true",       "gpt",       "\"a,",  "a b,", "x #c",  "\"\\n\\x\"", "18446744073709551615", "0.5",
      "2147483648", "\"\\\"q\"", "never", "\xff"};
  const auto& options = option_table();
  const Option& option = options[choice % options.size()];
  const std::string& value = values[choice / 256 % values.size()];
  const std::size_t dot = option.key.find('.');
  switch (choice >> 24 & 3U) {
    case 0:
      return "[" + option.key.substr(0, dot) + "]\n" + option.key.substr(dot + 1) + " = " + value + "\n";
    case 1:
      return option.key + " = " + value + "\n";
    case 2:
      return std::string("\0--", 3) + option.key + "=" + value;
    default:
      return std::string("\0--", 3) + option.key.substr(dot + 1) + '\0' + value;
  }
}

}  // namespace
}  // namespace trireme

/// Half of the time a snippet comes in, at any place; else bytes change as libFuzzer knows to.
extern "C" size_t LLVMFuzzerCustomMutator(std::uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  if (seed % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string piece = trireme::snippet(seed * 2654435761U);
  if (size + piece.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::uint8_t* at = data + (seed >> 1U) % (size + 1);
  std::copy_backward(at, data + size, data + size + piece.size());
  std::copy(piece.begin(), piece.end(), at);
  return size + piece.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  using namespace trireme;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::string_view ini = all.substr(0, all.find('\0'));
  fuzz::succeeds([&] { check_round_trip(parse_ini(std::string(ini), "fuzz.ini")); });

  std::vector<std::string> arguments = split(all.substr(std::min(ini.size() + 1, size)));
  // A file is the input's INI text, never whatever lies on this machine.
  std::erase_if(arguments, [](const std::string& argument) { return argument.starts_with("--config"); });
  const Command command = command_list()[size % command_list().size()].command;
  fuzz::succeeds([&] { check_round_trip(parse_command_line(command, arguments)); });
  return 0;
}
