#include "io/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace trireme {

int thread_count(int wanted) {
  if (wanted > 0) return wanted;
  cpu_set_t cores;
  return sched_getaffinity(0, sizeof(cores), &cores) == 0 ? std::max(1, CPU_COUNT(&cores)) : 1;
}

void parallel_for(int threads, std::int64_t count, const std::function<void(int, std::int64_t)>& work) {
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  std::int64_t failed = count;
  const auto run = [&](int thread) {
    for (std::int64_t turn = next++; turn < count; turn = next++) {
      try {
        work(thread, turn);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (turn < failed) error = std::current_exception();
        failed = std::min(failed, turn);
        next = count;
      }
    }
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
  run(0);
  for (std::thread& thread : others) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace trireme
