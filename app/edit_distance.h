// "Did you mean ...?"
#pragma once

#include <string_view>

namespace trireme {

/// Fewest single-character insertions, deletions and replacements that turn one text into the other (Levenshtein 1966,
/// by Wagner and Fischer's table, one row at a time).
int edit_distance(std::string_view a, std::string_view b);

}  // namespace trireme
