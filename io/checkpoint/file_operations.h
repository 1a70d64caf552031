// Every change that a checkpoint makes to the file system, in one place: each checks itself, shows on the board of
// activities, and asks an observer first, so that a test can make any of them fail or stop the process there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace trireme::files {

enum class Operation { make_directory, create, write, finish, sync, rename, exchange, remove };

/// Called before every operation with the path that it is about. Returns the errno that the operation is to fail with,
/// or 0 to let it happen.
using Observer = std::function<int(Operation, const std::filesystem::path&)>;
/// One for the process; none at first, and none after an empty one was set.
void set_observer(Observer observer);

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }
  /// Closes now. False, with errno, when the system says that this failed.
  bool close();

 private:
  int number_;
};

/// A new file, replacing one of that name. What is written goes on to the disk as it comes, so that little of it waits
/// in memory and the end is not one long flush.
class Output {
 public:
  explicit Output(std::filesystem::path path);
  /// All of the bytes, at that place in the file; best in pieces of a few MiB, in order.
  void write(std::int64_t offset, std::string_view bytes);
  /// Returns when all is on disk and the file is closed.
  void finish();

 private:
  void flush_behind(std::int64_t end);
  void flush_range(std::int64_t begin, std::int64_t end, unsigned how);

  std::filesystem::path path_;
  Descriptor file_;
  std::int64_t flushed_ = 0;  // up to here bytes are on disk
  std::int64_t started_ = 0;  // up to here they are on their way
};

/// The bytes [offset, offset + count) of a file; fewer where it ends before. What the disk cannot read back throws
/// DamagedCheckpoint; other failures are errors.
std::string read(const std::filesystem::path& path, std::int64_t offset, std::int64_t count);

/// With its parents, all of whose names are on disk afterwards; one that exists is no error.
void make_directory(const std::filesystem::path& path);
/// Returns when a folder's names are on disk.
void sync(const std::filesystem::path& folder);
void rename(const std::filesystem::path& from, const std::filesystem::path& to);
/// Lets two paths change places in one operation; false where the file system cannot.
bool exchange(const std::filesystem::path& one, const std::filesystem::path& other);
/// With all that is in it; one that does not exist is no error.
void remove(const std::filesystem::path& path);

}  // namespace trireme::files
