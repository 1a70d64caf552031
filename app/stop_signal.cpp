#include "app/stop_signal.h"

#include <array>
#include <csignal>
#include <cstddef>

namespace trireme {
namespace {

constexpr std::array signals = {SIGTERM, SIGINT, SIGUSR1};
volatile std::sig_atomic_t noted = 0;

void note(int signal) {
  noted = 1;
  std::signal(signal, SIG_DFL);
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
