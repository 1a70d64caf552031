// Every change that a checkpoint makes to the file system, in one place: each checks itself, and asks an observer
// first, so that a test can make any of them fail or stop the process there.
#pragma once

#include <filesystem>
#include <functional>

#include "io/hdf5.h"

namespace trireme::files {

enum class Operation { make_directory, create, write, finish, sync, rename, exchange, remove };

/// Called before every operation with the path that it is about. Returns the errno that the operation is to fail with,
/// or 0 to let it happen.
using Observer = std::function<int(Operation, const std::filesystem::path&)>;
/// One for the process; none at first, and none after an empty one was set.
void set_observer(Observer observer);

/// With its parents; one that exists is no error.
void make_directory(const std::filesystem::path& path);
hdf5::Handle create_hdf5(const std::filesystem::path& path);
/// Writes a whole f32 data set.
void write(const hdf5::Handle& dataset, const Shape& shape, const float* values);
/// Closes a file that was written and returns when its bytes are on disk.
void finish(hdf5::Handle file, const std::filesystem::path& path);
/// Returns when a file's bytes, or a folder's names, are on disk.
void sync(const std::filesystem::path& path);
void rename(const std::filesystem::path& from, const std::filesystem::path& to);
/// Lets two paths change places in one operation; false where the file system cannot.
bool exchange(const std::filesystem::path& one, const std::filesystem::path& other);
/// With all that is in it; one that does not exist is no error.
void remove(const std::filesystem::path& path);

}  // namespace trireme::files
