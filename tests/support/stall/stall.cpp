// For LD_PRELOAD: a file system that stops answering. Calls on files whose path begins with $TRIREME_STALL_PATH never
// return once the file $TRIREME_STALL_TRIGGER is there: those of the rank $TRIREME_STALL_RANK, on its main thread where
// $TRIREME_STALL_MAIN is set, else on its other threads.
#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool stalls(int file) {
  if (variable("OMPI_COMM_WORLD_RANK") != variable("TRIREME_STALL_RANK")) return false;
  if ((gettid() == getpid()) != !variable("TRIREME_STALL_MAIN").empty()) return false;
  if (access(std::getenv("TRIREME_STALL_TRIGGER"), F_OK) != 0) return false;
  std::array<char, 64> link{};
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", file);
  std::array<char, 4096> path{};
  const ssize_t length = readlink(link.data(), path.data(), path.size());
  return length > 0 &&
         std::string_view(path.data(), static_cast<std::size_t>(length)).starts_with(variable("TRIREME_STALL_PATH"));
}

void answer(int file) {
  if (!stalls(file)) return;
  for (;;) pause();
}

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): glibc's names are reserved
extern "C" {

ssize_t pread(int file, void* to, size_t bytes, off_t offset) {
  static auto* const real = next<decltype(pread)>("pread");
  answer(file);
  return real(file, to, bytes, offset);
}

ssize_t pread64(int file, void* to, size_t bytes, off64_t offset) {
  static auto* const real = next<decltype(pread64)>("pread64");
  answer(file);
  return real(file, to, bytes, offset);
}

ssize_t pwrite(int file, const void* from, size_t bytes, off_t offset) {
  static auto* const real = next<decltype(pwrite)>("pwrite");
  answer(file);
  return real(file, from, bytes, offset);
}

ssize_t pwrite64(int file, const void* from, size_t bytes, off64_t offset) {
  static auto* const real = next<decltype(pwrite64)>("pwrite64");
  answer(file);
  return real(file, from, bytes, offset);
}

ssize_t write(int file, const void* from, size_t bytes) {
  static auto* const real = next<decltype(write)>("write");
  answer(file);
  return real(file, from, bytes);
}

int fsync(int file) {
  static auto* const real = next<decltype(fsync)>("fsync");
  answer(file);
  return real(file);
}
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
