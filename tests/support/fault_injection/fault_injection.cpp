// A library that stands before libc (linked, or by LD_PRELOAD) and makes the file system calls of this process under
// one folder fail. Every such call has a number, counted from 0; environment variables say what happens:
//   TRIREME_FAULT_DIRECTORY   the folder, an absolute path; without it all calls pass
//   TRIREME_FAULT_AT, _KIND   the call with this number: error (EIO), full (ENOSPC), interrupted (EINTR), short (half
//   of
//                             the bytes), kill (SIGKILL before it), stall (never returns)
//   TRIREME_FAULT_NO_EXCHANGE renameat2 cannot exchange names, as on many file systems
//   TRIREME_FAULT_LOG         a file outside the folder that gets a line for each call: NAME RESULT PATH [PATH2]
//   [NUMBER
//                             NUMBER]; what is written is kept beside it in LOG.data, one after the other
// Read when the process starts and at every arm_faults().
#include "tests/support/fault_injection/fault_injection.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

struct Plan {
  std::string directory, kind;
  long at = -1;
  bool no_exchange = false;
  int log = -1, data = -1;
};

Plan& plan() {
  static Plan now;  // not a global variable: libraries make calls before this one is set up
  return now;
}
std::atomic<long> calls{0};

template <typename... Arguments>
long system_call(long number, Arguments... arguments) {
  return syscall(number, arguments...);
}

void append(int file, const void* bytes, std::size_t count) {
  if (file >= 0 && system_call(SYS_write, file, bytes, count) != static_cast<long>(count)) std::abort();
}

int open_log(const std::string& path) {
  return static_cast<int>(
      system_call(SYS_openat, AT_FDCWD, path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
}

std::string link_of(int descriptor) {
  char target[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const long length = system_call(SYS_readlinkat, AT_FDCWD, link.c_str(), target, sizeof(target));
  return {target, static_cast<std::size_t>(length < 0 ? 0 : length)};
}

std::string path_at(int folder, const char* path) {
  if (*path == '/') return path;
  if (folder != AT_FDCWD) return link_of(folder) + "/" + path;
  char current[PATH_MAX];
  return std::string(getcwd(current, sizeof(current)) != nullptr ? current : "") + "/" + path;
}

bool is_watched(std::string_view path) {
  const std::string& directory = plan().directory;
  return !directory.empty() && path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

/// One call: decides whether it happens, makes it, writes it down.
class Call {
 public:
  Call(const char* name, std::string path) : name_(name), path_(std::move(path)) {
    if (!is_watched(path_)) return;
    watched_ = true;
    const Plan& now = plan();
    if (calls++ != now.at) return;
    if (now.kind == "kill") raise(SIGKILL);
    while (now.kind == "stall") pause();
    if (now.kind == "error") error_ = EIO;
    if (now.kind == "full") error_ = ENOSPC;
    if (now.kind == "interrupted") error_ = EINTR;
    short_ = now.kind == "short";
  }
  /// How many bytes of `count` the call is to move.
  std::size_t bytes(std::size_t count) const { return short_ && count > 1 ? count / 2 : count; }
  void fail_with(int error) { error_ = error; }
  bool watched() const { return watched_; }

  /// The call's result; with what else is to stand in the log.
  template <typename Work>
  long run(Work work, const std::string& rest = "") {
    if (error_ != 0) errno = error_;
    const long result = error_ != 0 ? -1 : work();
    if (watched_ && plan().log >= 0) {
      const int kept = errno;
      const std::string line =
          std::string(name_) + " " + std::to_string(result) + " " + path_ + (rest.empty() ? "" : " ") + rest + "\n";
      append(plan().log, line.data(), line.size());
      errno = kept;
    }
    return result;
  }

 private:
  const char* name_;
  std::string path_;
  bool watched_ = false, short_ = false;
  int error_ = 0;
};

int open_at(int folder, const char* path, int flags, unsigned mode) {
  Call call((flags & (O_CREAT | O_TRUNC)) != 0 ? "create" : "open", path_at(folder, path));
  return static_cast<int>(call.run([&] { return system_call(SYS_openat, folder, path, flags, mode); }));
}

ssize_t write_at(int file, const void* bytes, std::size_t count, off_t offset) {
  Call call("write", link_of(file));
  return call.run(
      [&] {
        const long done = system_call(SYS_pwrite64, file, bytes, call.bytes(count), offset);
        if (call.watched() && done > 0) append(plan().data, bytes, static_cast<std::size_t>(done));
        return done;
      },
      std::to_string(offset));
}

ssize_t read_at(int file, void* bytes, std::size_t count, off_t offset) {
  Call call("read", link_of(file));
  return call.run([&] { return system_call(SYS_pread64, file, bytes, call.bytes(count), offset); });
}

int truncate_to(int file, off_t size) {
  Call call("truncate", link_of(file));
  return static_cast<int>(call.run([&] { return system_call(SYS_ftruncate, file, size); }, std::to_string(size)));
}

int rename_at(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  Call call(exchange ? "exchange" : "rename", path_at(from_folder, from));
  if (call.watched() && exchange && plan().no_exchange) call.fail_with(EINVAL);
  return static_cast<int>(call.run([&] { return system_call(SYS_renameat2, from_folder, from, to_folder, to, flags); },
                                   path_at(to_folder, to)));
}

int unlink_at(int folder, const char* path, int flags) {
  Call call(flags == AT_REMOVEDIR ? "rmdir" : "unlink", path_at(folder, path));
  return static_cast<int>(call.run([&] { return system_call(SYS_unlinkat, folder, path, flags); }));
}

unsigned mode_of(int flags, va_list arguments) { return (flags & O_CREAT) != 0 ? va_arg(arguments, unsigned) : 0; }

}  // namespace

void arm_faults() {
  Plan& now = plan();
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  for (int* file : {&now.log, &now.data}) {
    if (*file >= 0) system_call(SYS_close, *file);
    *file = -1;
  }
  now.directory = variable("TRIREME_FAULT_DIRECTORY");
  now.kind = variable("TRIREME_FAULT_KIND");
  now.at = now.kind.empty() ? -1 : std::atol(variable("TRIREME_FAULT_AT").c_str());
  now.no_exchange = !variable("TRIREME_FAULT_NO_EXCHANGE").empty();
  const std::string log = variable("TRIREME_FAULT_LOG");
  if (!log.empty()) {
    now.log = open_log(log);
    now.data = open_log(log + ".data");
  }
  calls = 0;
}

namespace {
[[maybe_unused]] const bool armed_at_start = (arm_faults(), true);
}

// What follows has the names that libc has, and parameters' names of our own.
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) __attribute__((alias("open")));

int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_at(folder, path, flags, mode);
}
int openat64(int folder, const char* path, int flags, ...) __attribute__((alias("openat")));

int creat(const char* path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char* path, mode_t mode) __attribute__((alias("creat")));

ssize_t pwrite(int file, const void* bytes, size_t count, off_t offset) { return write_at(file, bytes, count, offset); }
ssize_t pwrite64(int file, const void* bytes, size_t count, off_t offset) __attribute__((alias("pwrite")));

ssize_t write(int file, const void* bytes, size_t count) {
  const std::string path = link_of(file);
  if (!is_watched(path)) return system_call(SYS_write, file, bytes, count);
  const ssize_t done = write_at(file, bytes, count, system_call(SYS_lseek, file, 0, SEEK_CUR));
  if (done > 0) system_call(SYS_lseek, file, done, SEEK_CUR);
  return done;
}
ssize_t writev(int file, const iovec* parts, int count) {
  if (!is_watched(link_of(file))) return system_call(SYS_writev, file, parts, count);
  // As many calls as parts: all that a caller may count on is the first.
  return count == 0 ? 0 : write(file, parts->iov_base, parts->iov_len);
}

ssize_t pread(int file, void* bytes, size_t count, off_t offset) { return read_at(file, bytes, count, offset); }
ssize_t pread64(int file, void* bytes, size_t count, off_t offset) __attribute__((alias("pread")));

int ftruncate(int file, off_t size) noexcept { return truncate_to(file, size); }
int ftruncate64(int file, off_t size) noexcept __attribute__((alias("ftruncate")));

int fsync(int file) {
  Call call("fsync", link_of(file));
  return static_cast<int>(call.run([&] { return system_call(SYS_fsync, file); }));
}
int fdatasync(int file) {
  Call call("fsync", link_of(file));
  return static_cast<int>(call.run([&] { return system_call(SYS_fdatasync, file); }));
}
int sync_file_range(int file, off64_t offset, off64_t count, unsigned flags) {
  Call call("flush", link_of(file));
  return static_cast<int>(call.run([&] { return system_call(SYS_sync_file_range, file, offset, count, flags); }));
}
int close(int file) {
  Call call("close", link_of(file));
  // A close that fails has closed all the same.
  const long closed = system_call(SYS_close, file);
  return static_cast<int>(call.run([&] { return closed; }));
}

int rename(const char* from, const char* to) noexcept { return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  return rename_at(from_folder, from, to_folder, to, 0);
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  return rename_at(from_folder, from, to_folder, to, flags);
}

int mkdir(const char* path, mode_t mode) noexcept {
  Call call("mkdir", path_at(AT_FDCWD, path));
  return static_cast<int>(call.run([&] { return system_call(SYS_mkdirat, AT_FDCWD, path, mode); }));
}

int unlink(const char* path) noexcept { return unlink_at(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char* path, int flags) noexcept { return unlink_at(folder, path, flags); }
int rmdir(const char* path) noexcept { return unlink_at(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char* path) noexcept {
  const int result = unlink(path);
  return result != 0 && errno == EISDIR ? rmdir(path) : result;
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
