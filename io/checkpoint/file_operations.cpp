#include "io/checkpoint/file_operations.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "io/checkpoint/checkpoint.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme::files {
namespace {

constexpr std::int64_t flushed_at_once = std::int64_t{32} << 20;

Observer& current_observer() {
  static Observer current;
  return current;
}

std::string reason(int number) { return std::generic_category().message(number); }

int ask(Operation operation, const std::filesystem::path& path) {
  return current_observer() ? current_observer()(operation, path) : 0;
}

void tell(Operation operation, const std::filesystem::path& path) {
  if (const int number = ask(operation, path)) fail("{}: {}", path.string(), reason(number));
}

/// The result of a system call that is made again as long as a signal interrupts it.
template <typename Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

int open_file(const std::filesystem::path& path, int flags) {
  constexpr mode_t what_the_umask_leaves = 0666;
  return uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, what_the_umask_leaves); });
}

int create(const std::filesystem::path& path) {
  const Activity activity("creating", path.native());
  tell(Operation::create, path);
  const int file = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (file < 0) fail("{}: cannot be created: {}", path.string(), reason(errno));
  return file;
}

}  // namespace

void set_observer(Observer observer) { current_observer() = std::move(observer); }

Descriptor::~Descriptor() { close(); }

bool Descriptor::close() {
  // Interrupted or not, Linux has given the number back.
  return number_ < 0 || ::close(std::exchange(number_, -1)) == 0 || errno == EINTR;
}

Output::Output(std::filesystem::path path) : path_(std::move(path)), file_(create(path_)) {}

void Output::write(std::int64_t offset, std::string_view bytes) {
  const Activity activity("writing megabyte", path_.native(), offset >> 20);
  tell(Operation::write, path_);
  while (!bytes.empty()) {
    const ssize_t count =
        uninterrupted([&] { return ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (count <= 0) fail("{}: cannot be written: {}", path_.string(), count < 0 ? reason(errno) : "nothing is taken");
    bytes.remove_prefix(static_cast<std::size_t>(count));
    offset += count;
  }
  flush_behind(offset);
}

/// While one stretch is on its way, the one before is waited for.
void Output::flush_behind(std::int64_t end) {
  if (end - started_ < flushed_at_once) return;
  flush_range(started_, end, SYNC_FILE_RANGE_WRITE);
  flush_range(flushed_, started_, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  flushed_ = std::exchange(started_, end);
}

void Output::flush_range(std::int64_t begin, std::int64_t end, unsigned how) {
  if (begin == end) return;
  const Activity activity("flushing megabyte", path_.native(), begin >> 20);
  tell(Operation::sync, path_);
  const int failed = uninterrupted([&] { return ::sync_file_range(file_.get(), begin, end - begin, how); });
  // Where a file system has no such thing, finish() does all of it.
  if (failed < 0 && errno != ENOSYS && errno != EOPNOTSUPP && errno != EINVAL && errno != ESPIPE) {
    fail("{}: cannot be flushed to disk: {}", path_.string(), reason(errno));
  }
}

void Output::finish() {
  const Activity activity("flushing to disk", path_.native());
  tell(Operation::sync, path_);
  if (uninterrupted([&] { return ::fsync(file_.get()); }) < 0) {
    fail("{}: cannot be flushed to disk: {}", path_.string(), reason(errno));
  }
  tell(Operation::finish, path_);
  if (!file_.close()) fail("{}: cannot be closed: {}", path_.string(), reason(errno));
}

std::string read(const std::filesystem::path& path, std::int64_t offset, std::int64_t count) {
  const Activity activity("reading", path.native());
  const Descriptor file(open_file(path, O_RDONLY));
  if (file.get() < 0) fail("{}: cannot be opened: {}", path.string(), reason(errno));
  std::string bytes(static_cast<std::size_t>(count), '\0');
  std::size_t have = 0;
  ssize_t got = 1;
  for (; got > 0 && have < bytes.size(); have += static_cast<std::size_t>(std::max<ssize_t>(got, 0))) {
    got = uninterrupted([&] {
      return ::pread(file.get(), bytes.data() + have, bytes.size() - have, offset + static_cast<off_t>(have));
    });
  }
  const int number = got < 0 ? errno : 0;
  if (number == EIO) throw DamagedCheckpoint(fmt::format("{}: cannot be read: {}", path.string(), reason(number)));
  if (number != 0) fail("{}: cannot be read: {}", path.string(), reason(number));
  bytes.resize(have);
  return bytes;
}

void make_directory(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return;
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  make_directory(parent);
  const Activity activity("making the folder", path.native());
  tell(Operation::make_directory, path);
  std::error_code error;
  std::filesystem::create_directory(path, error);
  if (error) fail("{}: the folder cannot be made: {}", path.string(), error.message());
  sync(parent);
}

void sync(const std::filesystem::path& folder) {
  const Activity activity("flushing to disk", folder.native());
  tell(Operation::sync, folder);
  Descriptor file(open_file(folder, O_RDONLY | O_DIRECTORY));
  if (file.get() < 0) fail("{}: cannot be opened to flush it to disk: {}", folder.string(), reason(errno));
  // A file system that has no way to flush a folder says EINVAL.
  const bool failed = uninterrupted([&] { return ::fsync(file.get()); }) < 0 && errno != EINVAL;
  if (failed || !file.close()) fail("{}: cannot be flushed to disk: {}", folder.string(), reason(errno));
}

void rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  const Activity activity("renaming", from.native());
  tell(Operation::rename, from);
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error) fail("{}: cannot be renamed to {}: {}", from.string(), to.filename().string(), error.message());
}

bool exchange(const std::filesystem::path& one, const std::filesystem::path& other) {
  const Activity activity("renaming", one.native());
  int number = ask(Operation::exchange, one);
  if (number == 0 && renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) != 0) number = errno;
  if (number == 0) return true;
  if (number == EINVAL || number == ENOSYS || number == ENOTSUP) return false;
  fail("{}: cannot change places with {}: {}", one.string(), other.filename().string(), reason(number));
}

void remove(const std::filesystem::path& path) {
  const Activity activity("removing", path.native());
  tell(Operation::remove, path);
  std::error_code error;
  do {
    std::filesystem::remove_all(path, error);
  } while (error == std::errc::interrupted);
  if (error) fail("{}: cannot be removed: {}", path.string(), error.message());
}

}  // namespace trireme::files
