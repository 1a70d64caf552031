// What a check comes to, and how it is shown.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace trireme {

enum class Verdict { ok, warn, fail };

/// One line: "WARN  cores          node1: 4 ranks on 2 cores: start at most 2 ranks there".
struct Finding {
  Verdict verdict = Verdict::ok;
  std::string check;  ///< one word
  std::string text;   ///< what was found; of a WARN or FAIL also what to do
};

using Findings = std::vector<Finding>;

/// With a line end; verdicts in colour where asked for.
std::string to_line(const Finding& finding, bool colour = false);

/// "1.5 GB", "350 MB", "64 kB": three digits, in powers of 1000.
std::string format_bytes(double bytes);
/// "12 us", "3.1 ms", "2.4 s".
std::string format_seconds(double seconds);
/// Ascending numbers as ranges: "0-3, 8".
std::string format_ranges(const std::vector<int>& numbers);

}  // namespace trireme
