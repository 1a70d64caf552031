#include "tests/support/watchdog.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <semaphore.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace trireme {
namespace {

std::array<void*, 64> frames;
int frame_count = 0;
sem_t frames_taken;

void take_frames(int /*signal*/) {
  frame_count = backtrace(frames.data(), static_cast<int>(frames.size()));
  sem_post(&frames_taken);
}

std::string name_of_frame(void* frame) {
  Dl_info info{};
  if (dladdr(frame, &info) == 0) return fmt::format("{}", frame);
  const auto offset = static_cast<char*>(frame) - static_cast<char*>(info.dli_fbase);
  if (info.dli_sname == nullptr) return fmt::format("{} + {:#x}", info.dli_fname, offset);
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status),
                                                        std::free);
  return status == 0 ? readable.get() : info.dli_sname;
}

}  // namespace

Watchdog::Watchdog(std::string prefix, std::function<void()> expired)
    : prefix_(std::move(prefix)), expired_(std::move(expired)), watched_(pthread_self()) {
  backtrace(frames.data(), 1);  // its first call loads a library, which a signal handler must not
  sem_init(&frames_taken, 0, 0);
  struct sigaction action {};
  action.sa_handler = take_frames;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, nullptr);
  thread_ = std::thread([this] { run(); });
}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock lock(mutex_);
    closing_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Watchdog::start(const std::string& what, std::chrono::milliseconds limit) {
  const std::scoped_lock lock(mutex_);
  watch_ = Watch{what, limit, std::chrono::steady_clock::now() + limit};
  changed_.notify_one();
}

void Watchdog::stop() {
  const std::scoped_lock lock(mutex_);
  watch_.reset();
}

void Watchdog::run() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    if (!watch_) {
      changed_.wait(lock);
    } else if (std::chrono::steady_clock::now() < watch_->end) {
      changed_.wait_until(lock, watch_->end);
    } else {
      report(*watch_);
      watch_.reset();
      expired_();
    }
  }
}

void Watchdog::report(const Watch& watch) const {
  std::string text = fmt::format("{}{} did not end in {}; its stack:\n", prefix_, watch.what, watch.limit);
  pthread_kill(watched_, SIGUSR2);
  timespec patience{};
  clock_gettime(CLOCK_REALTIME, &patience);
  patience.tv_sec += 5;
  if (sem_timedwait(&frames_taken, &patience) != 0) text += prefix_ + "  (the thread does not answer)\n";
  for (int frame = 0; frame < frame_count; ++frame)
    text += fmt::format("{}  {}\n", prefix_, name_of_frame(frames[static_cast<std::size_t>(frame)]));
  std::fputs(text.c_str(), stderr);
}

}  // namespace trireme
