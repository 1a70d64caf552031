// The promise that no result depends on the number of threads, as a test.
#pragma once

#include "kernel_test.h"

namespace trireme {

/// Runs `run(backend)`, which returns Values, on CPU backends of 1, 2 and 5 threads: all bits must agree.
template <typename Run>
void expect_same_for_any_thread_count(const Run& run) {
  const auto one = make_cpu_backend(1);
  const Values wanted = run(*one);
  ASSERT_FALSE(wanted.empty());
  for (const int threads : {2, 5}) {
    const auto several = make_cpu_backend(threads);
    EXPECT_EQ(run(*several), wanted) << threads << " threads";
  }
}

/// All values of several results behind each other.
inline Values joined(std::initializer_list<Values> parts) {
  Values all;
  for (const Values& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace trireme
