// INI text: what configuration files and the configurations stored in checkpoints are written in.
//
//   [section]
//   key = value          # a comment starts at a # or ; that begins the line or follows a blank
//   key = "quoted # text\n"    escapes: \" \\ \n \r \t
//   key = a.h5 b.h5, "c d.h5"  lists are separated by blanks or commas
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct IniEntry {
  std::string key;    ///< "section.key"
  std::string value;  ///< as written: quotes and comment included
  int line = 0;       ///< from 1
};

/// Refuses lines that are neither a section, a key with its value, a comment nor blank, naming `name` and the line.
std::vector<IniEntry> read_ini(std::string_view text, const std::string& name);

/// Splits a written value at any of `separators` outside quotes, and takes quotes, escapes and the comment away. An
/// empty value is no item. Refuses a quote that does not end, naming `where`.
std::vector<std::string> split_value(std::string_view value, std::string_view separators, const std::string& where);

/// `text` as a value that `split_value` gives back whole, whatever the separators; quoted where it must be.
std::string quote_value(std::string_view text);

}  // namespace trireme
