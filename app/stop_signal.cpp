#include "app/stop_signal.h"

#include <array>
#include <csignal>

namespace trireme {
namespace {

constexpr std::array signals = {SIGTERM, SIGINT, SIGUSR1};
volatile std::sig_atomic_t noted = 0;

void note(int signal) {
  noted = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

StopSignal::StopSignal() {
  noted = 0;
  for (const int signal : signals) std::signal(signal, note);
}

StopSignal::~StopSignal() {
  for (const int signal : signals) std::signal(signal, SIG_DFL);
}

bool StopSignal::received() const { return noted != 0; }

}  // namespace trireme
