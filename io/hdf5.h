// HDF5 as this program uses it: handles that close themselves, calls that check themselves, one lock, because not every
// build of the library is thread-safe. The only header of ours through which HDF5's is seen.
//
// Every function here takes the lock itself; code that calls HDF5 directly holds it around its calls. Errors name the
// file and object, and carry HDF5's own words.
#pragma once

#include <hdf5.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/tensor.h"

namespace trireme::hdf5 {

/// Held around every use of the library; the loader's thread and the checkpoint writer meet here.
std::recursive_mutex& library_mutex();
class Lock {
 public:
  explicit Lock(std::recursive_mutex& mutex) : lock_(mutex, std::try_to_lock) {
    if (!lock_.owns_lock()) wait();
  }

 private:
  void wait();
  std::unique_lock<std::recursive_mutex> lock_;
};

/// Owns one HDF5 identifier of any kind.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*closer)(hid_t)) : id_(id), close_(closer) {}
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(std::exchange(other.close_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle();
  hid_t get() const { return id_; }
  /// Closes now and throws when that fails, which for a file that was written means lost data.
  void close();

 private:
  hid_t id_ = H5I_INVALID_HID;
  herr_t (*close_)(hid_t) = nullptr;
};

/// Throws Error with the expression and HDF5's error stack. The caller holds the lock since before the failed call.
[[noreturn]] void raise(const char* expression, std::source_location where);

template <typename T>
T check(T result, const char* expression, std::source_location where = std::source_location::current()) {
  if (result < 0) raise(expression, where);
  return result;
}
/// The value of a call into HDF5; throws Error, naming the expression, when it is negative.
#define TRIREME_HDF5(expression) ::trireme::hdf5::check((expression), #expression)

// Files. Nothing is ever written to a file that another process has open, so HDF5's file locks, which network file
// systems often lack, are not asked for (the environment variable HDF5_USE_FILE_LOCKING overrides).

/// A new file, replacing one of that name.
Handle create_file(const std::filesystem::path& file);
/// A new file in a descriptor of a file in memory. Its first `user_bytes` (512 times a power of two) are not HDF5's.
Handle create_in_memory(int descriptor, std::int64_t user_bytes);
/// Opens for reading. Refuses a file that is missing, not HDF5, or cut short.
Handle open_file(const std::filesystem::path& file);
/// Hands all that was written to the operating system.
void flush(const Handle& file);

/// "FILE" or "FILE: /object", for messages.
std::string describe(hid_t id);
/// Whether an object is at `path` below a file or group.
bool exists(const Handle& at, const std::string& path);
/// Makes the group with its parents, or opens it.
Handle create_group(const Handle& at, const std::string& path);
/// Opens a group or data set; refuses when there is none.
Handle open_object(const Handle& at, const std::string& path);

/// Paths of all data sets below a file or group, in the order of their names; one of many links to a data set.
std::vector<std::string> dataset_paths(const Handle& at);

/// The HDF5 type of an element.
template <typename T>
hid_t native_type();
template <>
hid_t native_type<float>();
template <>
hid_t native_type<double>();
template <>
hid_t native_type<std::uint8_t>();
template <>
hid_t native_type<std::uint16_t>();
template <>
hid_t native_type<std::int32_t>();
template <>
hid_t native_type<std::uint32_t>();
template <>
hid_t native_type<std::int64_t>();
template <>
hid_t native_type<std::uint64_t>();

// Attributes, of a file, group or data set. Reading refuses when there is none, or one of another kind.

bool has_attribute(const Handle& at, const std::string& name);
void write_attribute(const Handle& at, const std::string& name, hid_t type, const void* values, std::size_t count,
                     bool scalar);
void read_attribute(const Handle& at, const std::string& name, hid_t type, void* values, std::size_t count);
/// Changes the values of an attribute that there is, without changing the file's layout.
void overwrite_attribute(const Handle& at, const std::string& name, hid_t type, const void* values);
void write_string(const Handle& at, const std::string& name, std::string_view text);
std::string read_string(const Handle& at, const std::string& name);

template <typename T>
void write_number(const Handle& at, const std::string& name, T value) {
  write_attribute(at, name, native_type<T>(), &value, 1, true);
}
template <typename T>
T read_number(const Handle& at, const std::string& name) {
  T value{};
  read_attribute(at, name, native_type<T>(), &value, 1);
  return value;
}

// Data sets of one to four axes.

using Offset = std::array<std::int64_t, Shape::max_rank>;

/// Makes a data set and its parent groups, with a data space and creation properties as HDF5 has them.
Handle create_dataset(const Handle& at, const std::string& path, hid_t type, const Handle& space,
                      const Handle& properties);
/// Makes a data set and its parent groups. With `chunk` elements along the first axis it may grow by `resize`.
Handle create_dataset(const Handle& at, const std::string& path, hid_t type, const Shape& shape,
                      std::int64_t chunk = 0);
void resize(const Handle& dataset, const Shape& shape);
/// Refuses more than four axes.
Shape shape_of(const Handle& dataset);
/// The same of a data set to be read: refuses one that claims more elements than its file has bytes for, or whose
/// values are in other files. Ask before memory is reserved.
Shape stored_shape_of(const Handle& dataset);
/// Whether elements are numbers of this class (H5T_FLOAT, H5T_INTEGER) and size in bytes.
bool has_type(const Handle& dataset, H5T_class_t kind, std::size_t bytes);

/// The box at `offset` with extents `count`, row-major in memory.
void write_box(const Handle& dataset, const Offset& offset, const Shape& count, hid_t type, const void* values);
void read_box(const Handle& dataset, const Offset& offset, const Shape& count, hid_t type, void* values);

template <typename T>
Handle create_dataset(const Handle& at, const std::string& path, const Shape& shape, std::int64_t chunk = 0) {
  return create_dataset(at, path, native_type<T>(), shape, chunk);
}
template <typename T>
void write(const Handle& dataset, const Offset& offset, const Shape& count, const T* values) {
  write_box(dataset, offset, count, native_type<T>(), values);
}
template <typename T>
void read(const Handle& dataset, const Offset& offset, const Shape& count, T* values) {
  read_box(dataset, offset, count, native_type<T>(), values);
}

/// Gives a f32 data set without chunks, to which nothing was written yet, its place: the offset in the file, in bytes.
std::int64_t place(const Handle& dataset);

/// A uint8 data set that holds a string of any length.
void write_bytes(const Handle& at, const std::string& path, std::string_view bytes);
std::string read_bytes(const Handle& at, const std::string& path);

/// A shape of as many axes as are given; refuses more than four, and sizes that no file has, naming `owner`.
Shape make_shape(const std::vector<std::int64_t>& extents, const std::string& owner);
/// A data space of that shape; with `growing`, its first axis may grow.
Handle make_space(const Shape& shape, bool growing = false);
/// Restricts a space to a box.
void select_box(const Handle& space, const Offset& offset, const Shape& count);

}  // namespace trireme::hdf5
