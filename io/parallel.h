// Loops whose turns go to whichever thread is free.
#pragma once

#include <cstdint>
#include <functional>

namespace trireme {

/// `wanted`, or for 0 as many as this process may use cores.
int thread_count(int wanted);

/// Calls work(thread, turn) for turns 0..count-1, thread 0..threads-1; rethrows the error of the earliest turn that
/// failed.
void parallel_for(int threads, std::int64_t count, const std::function<void(int, std::int64_t)>& work);

}  // namespace trireme
