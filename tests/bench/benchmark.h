// What programs that measure have in common: one line of JSON on standard output, or one that says what went wrong.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/error.h"

namespace trireme::bench {

/// The main function of a program called `name`: prints what `measure` returns. 0, or 2 for wrong arguments, else 1.
template <typename Measure>
int print_result(const char* name, const Measure& measure) {
  try {
    const nlohmann::ordered_json result = measure();
    fmt::print("{}\n", result.dump());
    return 0;
  } catch (const boost::program_options::error& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return 2;
  } catch (const Error& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return static_cast<int>(error.status());
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return 1;
  }
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

inline double peak_rss_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace trireme::bench
