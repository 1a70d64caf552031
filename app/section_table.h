// How keys are declared: one chained call a key, with the member of the section's struct that it sets.
#pragma once

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/option_table.h"

namespace trireme {

template <typename T>
struct Range {
  T low{};
  T high = std::numeric_limits<T>::max();
  bool above = false;  ///< low itself is outside
  bool below = false;  ///< high itself is outside

  bool contains(T value) const {
    return (above ? value > low : value >= low) && (below ? value < high : value <= high);
  }
  std::string describe() const {
    const bool open_ended = high == std::numeric_limits<T>::max() && !std::same_as<T, int>;
    return fmt::format("{} {} {}", std::integral<T> ? "an integer" : "a number", above ? ">" : ">=", low) +
           (open_ended ? "" : fmt::format(" and {} {}", below ? "<" : "<=", high));
  }
};

template <typename T>
bool read_number(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc{} && result.ptr == end;
}

template <typename Enum>
using Choices = std::vector<std::pair<std::string, Enum>>;

template <typename T>
std::string join_choices(const Choices<T>& choices, std::string_view separator) {
  std::string joined;
  for (const auto& [name, value] : choices) joined.append(joined.empty() ? "" : separator).append(name);
  return joined;
}

/// The struct of a section, or the configuration itself for keys that live outside the sections' structs.
template <typename Section, typename AnyConfiguration>
auto& section_of(AnyConfiguration& configuration, Section Configuration::*section) {
  if constexpr (std::same_as<Section, Configuration>) {
    return configuration;
  } else {
    return configuration.*section;
  }
}

/// Declares the keys of one section, which live in one struct of the configuration.
template <typename Section>
class SectionTable {
 public:
  SectionTable(std::vector<Option>& options, std::string name, Section Configuration::*section)
      : options_(options), name_(std::move(name)), section_(section) {}

  /// The keys declared after this are used by these commands.
  SectionTable& used_by(std::uint32_t commands) {
    commands_ = commands;
    return *this;
  }

  template <typename T>
  SectionTable& number(const std::string& key, T Section::*field, const std::string& help, Range<T> range = {}) {
    return add(
        key, std::integral<T> ? "integer" : "number", range.describe(), help,
        [field, range](Section& section, const std::string& text) {
          T value{};
          if (!read_number(text, value) || !range.contains(value)) return false;
          section.*field = value;
          return true;
        },
        [field](const Section& section) { return fmt::format("{}", section.*field); });
  }

  template <typename T>
  SectionTable& choice(const std::string& key, T Section::*field, const std::string& help, const Choices<T>& choices) {
    return add(
        key, join_choices(choices, "|"), "one of " + join_choices(choices, ", "), help,
        [field, choices](Section& section, const std::string& text) {
          const auto found = std::ranges::find(choices, text, &Choices<T>::value_type::first);
          if (found == choices.end()) return false;
          section.*field = found->second;
          return true;
        },
        [field, choices](const Section& section) {
          const auto found = std::ranges::find(choices, section.*field, &Choices<T>::value_type::second);
          return found == choices.end() ? std::string{} : found->first;
        });
  }

  SectionTable& choice(const std::string& key, std::string Section::*field, const std::string& help,
                       const std::vector<std::string>& names) {
    Choices<std::string> choices;
    for (const std::string& name : names) choices.emplace_back(name, name);
    return choice(key, field, help, choices);
  }

  SectionTable& flag(const std::string& key, bool Section::*field, const std::string& help) {
    choice(key, field, help, {{"true", true}, {"false", false}});
    options_.back().is_flag = true;
    return *this;
  }

  /// The key declared last keeps the value that a run began with.
  SectionTable& fixed() {
    options_.back().is_fixed = true;
    return *this;
  }

  /// Free text; `matches` says whether a value will do, `expected` tells what will.
  SectionTable& text(const std::string& key, std::string Section::*field, const std::string& help,
                     const std::string& expected = "text", bool (*matches)(const std::string&) = nullptr) {
    return add(
        key, "text", expected, help,
        [field, matches](Section& section, const std::string& value) {
          if (matches != nullptr && !matches(value)) return false;
          section.*field = value;
          return true;
        },
        [field](const Section& section) { return section.*field; });
  }

  SectionTable& path(const std::string& key, std::filesystem::path Section::*field, const std::string& help) {
    return add(
        key, "path", "a path", help,
        [field](Section& section, const std::string& text) {
          section.*field = text;
          return true;
        },
        [field](const Section& section) { return (section.*field).string(); });
  }

  SectionTable& paths(const std::string& key, std::vector<std::filesystem::path> Section::*field,
                      const std::string& help) {
    return list(declare(key, "path...", "paths", help), field, [](const auto& path) { return path.string(); });
  }

  SectionTable& texts(const std::string& key, std::vector<std::string> Section::*field, const std::string& help) {
    return list(declare(key, "text...", "texts", help), field, std::identity{});
  }

 private:
  template <typename Item, typename Write>
  SectionTable& list(Option& option, std::vector<Item> Section::*field, const Write& write) {
    option.is_list = true;
    option.read = [field, section = section_](Configuration& configuration, std::span<const std::string> values) {
      (section_of(configuration, section).*field).assign(values.begin(), values.end());
      return true;
    };
    option.write = [field, write, section = section_](const Configuration& configuration) {
      std::vector<std::string> values;
      for (const Item& item : section_of(configuration, section).*field) values.push_back(write(item));
      return values;
    };
    return *this;
  }

  Option& declare(const std::string& key, std::string type, std::string expected, std::string help) {
    Option& option = options_.emplace_back();
    option.key = name_ + "." + key;
    option.type = std::move(type);
    option.expected = std::move(expected);
    option.help = std::move(help);
    option.commands = commands_;
    return option;
  }

  template <typename Read, typename Write>
  SectionTable& add(const std::string& key, std::string type, std::string expected, std::string help, const Read& read,
                    const Write& write) {
    Option& option = declare(key, std::move(type), std::move(expected), std::move(help));
    option.read = [read, section = section_](Configuration& configuration, std::span<const std::string> values) {
      return values.size() == 1 && read(section_of(configuration, section), values.front());
    };
    option.write = [write, section = section_](const Configuration& configuration) {
      return std::vector<std::string>{write(section_of(configuration, section))};
    };
    return *this;
  }

  std::vector<Option>& options_;
  std::string name_;
  Section Configuration::*section_;
  std::uint32_t commands_ = 0;
};

}  // namespace trireme
