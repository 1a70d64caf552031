#include "app/stop_signal.h"

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <ctime>

namespace trireme {
namespace {

constexpr std::array signals = {SIGTERM, SIGINT, SIGUSR1};
constexpr std::int64_t echo_nanoseconds = 1'000'000'000;  // one wish may come by several ways: launcher, script, Slurm
volatile std::sig_atomic_t noted = 0;
std::atomic<std::int64_t> noted_at;
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

std::int64_t nanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

void note(int signal) {
  if (noted == 0) {
    noted_at = nanoseconds();
    noted = 1;
  } else if (nanoseconds() - noted_at > echo_nanoseconds) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

/// Gives handlers on the main thread, where the kernel delivers them, a stack of their own: oneDNN's sgemm kernels
/// point the stack pointer into heap memory, where a signal's frame would overwrite what lies below.
void use_alternate_stack() {
  static std::array<std::byte, 65536> memory;
  const stack_t stack{.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
  sigaltstack(&stack, nullptr);
}

}  // namespace

StopSignal::StopSignal() {
  noted = 0;
  use_alternate_stack();
  struct sigaction action = {};
  action.sa_handler = note;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  for (const int signal : signals) sigaction(signal, &action, nullptr);
}

StopSignal::~StopSignal() {
  for (const int signal : signals) std::signal(signal, SIG_DFL);
}

bool StopSignal::received() const { return noted != 0; }

}  // namespace trireme
