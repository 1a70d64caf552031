#include "io/checkpoint/file_operations.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "kernels/error.h"

namespace trireme::files {
namespace {

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

}  // namespace

void set_observer(Observer observer) { current_observer() = std::move(observer); }

void make_directory(const std::filesystem::path& path) {
  tell(Operation::make_directory, path);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail("{}: the folder cannot be made: {}", path.string(), error.message());
}

hdf5::Handle create_hdf5(const std::filesystem::path& path) {
  tell(Operation::create, path);
  return hdf5::create_file(path);
}

void write(const hdf5::Handle& dataset, const Shape& shape, const float* values) {
  if (current_observer()) tell(Operation::write, hdf5::describe(dataset.get()));
  hdf5::write<float>(dataset, {}, shape, values);
}

void finish(hdf5::Handle file, const std::filesystem::path& path) {
  tell(Operation::finish, path);
  hdf5::flush(file);
  file.close();
  sync(path);
}

void sync(const std::filesystem::path& path) {
  tell(Operation::sync, path);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail("{}: cannot be opened to flush it to disk: {}", path.string(), reason(errno));
  const int number = fsync(file) == 0 ? 0 : errno;
  close(file);
  if (number != 0) fail("{}: cannot be flushed to disk: {}", path.string(), reason(number));
}

void rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  tell(Operation::rename, from);
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error) fail("{}: cannot be renamed to {}: {}", from.string(), to.filename().string(), error.message());
}

bool exchange(const std::filesystem::path& one, const std::filesystem::path& other) {
  int number = ask(Operation::exchange, one);
  if (number == 0 && renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) != 0) number = errno;
  if (number == 0) return true;
  if (number == EINVAL || number == ENOSYS || number == ENOTSUP) return false;
  fail("{}: cannot change places with {}: {}", one.string(), other.filename().string(), reason(number));
}

void remove(const std::filesystem::path& path) {
  tell(Operation::remove, path);
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) fail("{}: cannot be removed: {}", path.string(), error.message());
}

}  // namespace trireme::files
