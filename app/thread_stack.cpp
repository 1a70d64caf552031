#include "app/thread_stack.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fmt/format.h>
#include <semaphore.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string_view>

namespace trireme {
namespace {

std::array<void*, 64> frames;
std::atomic<int> frame_count;
std::atomic<pid_t> wanted;  ///< the thread that is asked
sem_t taken;

void take_frames(int /*signal*/) {
  const int error = errno;
  // A thread that was asked before and did not answer in time no longer counts.
  if (wanted == gettid()) {
    frame_count = backtrace(frames.data(), static_cast<int>(frames.size()));
    wanted = 0;
    sem_post(&taken);
  }
  errno = error;
}

std::string name_of(void* frame) {
  Dl_info info{};
  if (dladdr(frame, &info) == 0) return fmt::format("{}", frame);
  if (info.dli_sname == nullptr)
    return fmt::format("{} + {:#x}", info.dli_fname, static_cast<char*>(frame) - static_cast<char*>(info.dli_fbase));
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status),
                                                        std::free);
  constexpr std::size_t longest = 100;
  return std::string(status == 0 ? readable.get() : info.dli_sname).substr(0, longest);
}

/// The letter of /proc/PATH/stat, after the name in parentheses; X where there is none.
char state_of(const std::string& path) {
  std::ifstream stat("/proc/" + path + "/stat");
  const std::string text{std::istreambuf_iterator<char>(stat), {}};
  const std::size_t end = text.rfind(')');
  return end == std::string::npos || end + 2 >= text.size() ? 'X' : text[end + 2];
}

std::string trouble_at(const std::string& path) {
  switch (state_of(path)) {
    case 'X':
    case 'Z':
      return "has ended";
    case 'T':
      return "is stopped by a signal";
    case 't':
      return "is stopped by a debugger";
    case 'D': {
      std::string place;
      std::ifstream("/proc/" + path + "/wchan") >> place;
      return place.empty() || place == "0" ? "sleeps in the kernel" : fmt::format("sleeps in the kernel ({})", place);
    }
    default:
      return {};
  }
}

bool wait_for_frames() {
  timespec end{};
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec += 1;
  while (sem_clockwait(&taken, CLOCK_MONOTONIC, &end) != 0)
    if (errno != EINTR) return false;
  return true;
}

}  // namespace

void prepare_stacks() {
  backtrace(frames.data(), 1);  // its first call loads a library, which a signal handler must not
  sem_init(&taken, 0, 0);
  struct sigaction action {};
  action.sa_handler = take_frames;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaction(SIGUSR2, &action, nullptr);
}

std::string stack_of(pid_t thread) {
  const char* const ended = "  (the thread has ended)\n";
  wanted = thread;
  if (tgkill(getpid(), thread, SIGUSR2) != 0) return ended;
  // A handler that has begun when the time is up ends soon.
  if (!wait_for_frames() && (wanted.exchange(0) == thread || !wait_for_frames())) {
    const std::string trouble = trouble_at(fmt::format("self/task/{}", thread));
    if (trouble == "has ended") return ended;  // it took the signal with it: it was joined, but not gone
    return fmt::format("  (the thread does not answer{}{})\n", trouble.empty() ? "" : ": it ", trouble);
  }
  std::string text;
  constexpr std::size_t handler = 2;  // the handler, and the kernel's way back from it
  const auto count = static_cast<std::size_t>(frame_count);
  for (void* frame : std::span(frames).first(count).subspan(std::min(handler, count))) {
    const std::string name = name_of(frame);
    text += fmt::format("  {}\n", name);
    if (name == "main") break;  // what started it is the same everywhere
  }
  return text;
}

bool can_run(pid_t process) {
  return std::string_view("XZTt").find(state_of(std::to_string(process))) == std::string_view::npos;
}

bool has_ended(pid_t process) {
  return std::string_view("XZ").find(state_of(std::to_string(process))) != std::string_view::npos;
}

std::string trouble_of(pid_t process) { return trouble_at(std::to_string(process)); }

}  // namespace trireme
