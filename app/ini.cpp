#include "app/ini.h"

#include <algorithm>

#include "kernels/error.h"

namespace trireme {
namespace {

constexpr std::string_view blanks = " \t\r";
constexpr std::string_view escaped = "\"\\\n\r\t";
constexpr std::string_view escape_letters = "\"\\nrt";

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool is_one_of(std::string_view set, char c) { return set.find(c) != std::string_view::npos; }

bool is_blank_or_comment(std::string_view text) {
  text = trim(text);
  return text.empty() || is_one_of("#;", text[0]);
}

/// Reads a quoted item that starts at text[at]; leaves `at` behind the closing quote.
std::string read_quoted(std::string_view text, std::size_t& at, const std::string& where) {
  std::string item;
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] != '\\') {
      item += text[at];
      continue;
    }
    const auto letter = at + 1 < text.size() ? escape_letters.find(text[at + 1]) : std::string_view::npos;
    if (letter == std::string_view::npos)
      refuse("{}: unknown escape in {}, expected \\\" \\\\ \\n \\r \\t", where, text);
    item += escaped[letter];
    ++at;
  }
  if (at == text.size()) refuse("{}: the quote in {} does not end", where, text);
  ++at;
  return item;
}

/// Reads an item up to a separator or a comment.
std::string_view read_plain(std::string_view text, std::size_t& at, std::string_view separators) {
  const std::size_t first = at;
  const auto ends = [&] {
    const bool comment = is_one_of("#;", text[at]) && (at == 0 || is_one_of(blanks, text[at - 1]));
    return comment || is_one_of(separators, text[at]);
  };
  while (at < text.size() && !ends()) ++at;
  return trim(text.substr(first, at - first));
}

}  // namespace

std::vector<IniEntry> read_ini(std::string_view text, const std::string& name) {
  std::vector<IniEntry> entries;
  std::string section;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // the byte order mark of Windows editors
  for (int line = 1; !text.empty(); ++line) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view content = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (is_blank_or_comment(content)) continue;

    const auto equals = content.find('=');
    const auto bracket = content.find(']');
    if (content.front() == '[' && bracket != std::string_view::npos &&
        is_blank_or_comment(content.substr(bracket + 1))) {
      section = trim(content.substr(1, bracket - 1));
    } else if (equals == std::string_view::npos || trim(content.substr(0, equals)).empty()) {
      refuse("{}:{}: found '{}', expected [section] or key = value", name, line, content);
    } else {
      const std::string key{trim(content.substr(0, equals))};
      entries.push_back(
          {section.empty() ? key : section + "." + key, std::string{trim(content.substr(equals + 1))}, line});
    }
  }
  return entries;
}

std::vector<std::string> split_value(std::string_view value, std::string_view separators, const std::string& where) {
  std::vector<std::string> items;
  const std::string between = std::string{blanks}.append(separators);
  std::size_t at = 0;
  while ((at = value.find_first_not_of(between, at)) != std::string_view::npos && !is_one_of("#;", value[at])) {
    if (value[at] == '"') {
      items.push_back(read_quoted(value, at, where));
      if (at < value.size() && !is_one_of(between, value[at]))
        refuse("{}: found {}, expected nothing behind the closing quote", where, value);
    } else {
      items.emplace_back(read_plain(value, at, separators));
    }
  }
  return items;
}

std::string quote_value(std::string_view text) {
  if (!text.empty() && text.find_first_of(" ,#;\"\\\n\r\t") == std::string_view::npos) return std::string{text};
  std::string quoted = "\"";
  for (const char c : text) {
    const auto letter = escaped.find(c);
    if (letter == std::string_view::npos) {
      quoted += c;
    } else {
      quoted += '\\';
      quoted += escape_letters[letter];
    }
  }
  return quoted + '"';
}

}  // namespace trireme
