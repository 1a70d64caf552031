#include "io/column.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/error.h"

namespace trireme {
namespace {

void write_to_disk(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!done) fail("{}: cannot be written to disk: {}", path.string(), std::strerror(reason));
}

std::filesystem::path partial(std::filesystem::path file) { return file += ".partial"; }

}  // namespace

PartialFile::PartialFile(const std::filesystem::path& path) : path_(path), file_(hdf5::create_file(partial(path))) {}

PartialFile::~PartialFile() {
  if (committed_) return;
  file_ = {};
  std::error_code ignored;
  std::filesystem::remove(partial(path_), ignored);
}

void PartialFile::commit() {
  file_.close();
  write_to_disk(partial(path_));
  std::filesystem::rename(partial(path_), path_);
  committed_ = true;
  write_to_disk(path_.has_parent_path() ? path_.parent_path() : ".");
}

}  // namespace trireme
