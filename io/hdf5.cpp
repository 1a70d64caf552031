#include "io/hdf5.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme::hdf5 {
namespace {

/// Runs once, before the first use.
bool start_library() {
  // Handles close everything. What could not be closed, on a full disk, makes the library's own clean-up crash.
  H5dont_atexit();
  H5open();
  return true;
}

/// Errors are told by exceptions, not printed by the library, which remembers this for each thread.
bool silence_library(std::recursive_mutex& mutex) {
  const Lock lock(mutex);
  return H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
}

herr_t append_error(unsigned /*depth*/, const H5E_error2_t* error, void* text) {
  auto& out = *static_cast<std::string*>(text);
  if (error->desc != nullptr && *error->desc != '\0') out += fmt::format("{}{}", out.empty() ? "" : ": ", error->desc);
  return 0;
}

/// The library's error stack, from the outermost call to the cause.
std::string error_text() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, append_error, &text);
  return text.empty() ? "no reason given" : text;
}

/// Throws after a failed call on the object, or on what lies below it. Reads the stack first: the next call clears it.
[[noreturn]] void fail_on(hid_t id, std::string_view what) {
  const std::string reason = error_text();
  fail("{}: {}: {}", describe(id), what, reason);
}

/// New objects get their parent groups and names in UTF-8.
Handle link_creation() {
  Handle properties(TRIREME_HDF5(H5Pcreate(H5P_LINK_CREATE)), H5Pclose);
  TRIREME_HDF5(H5Pset_create_intermediate_group(properties.get(), 1));
  TRIREME_HDF5(H5Pset_char_encoding(properties.get(), H5T_CSET_UTF8));
  return properties;
}

Handle file_access() {
  Handle properties(TRIREME_HDF5(H5Pcreate(H5P_FILE_ACCESS)), H5Pclose);
  TRIREME_HDF5(H5Pset_file_locking(properties.get(), false, true));
  // From 1.8 on, attributes may exceed 64 KiB and metadata carries checksums.
  TRIREME_HDF5(H5Pset_libver_bounds(properties.get(), H5F_LIBVER_V18, H5F_LIBVER_LATEST));
  return properties;
}

herr_t append_dataset(hid_t /*top*/, const char* path, const H5O_info_t* object, void* paths) {
  if (object->type == H5O_TYPE_DATASET) static_cast<std::vector<std::string>*>(paths)->emplace_back(path);
  return 0;
}

Handle open_attribute(const Handle& at, const std::string& name) {
  if (!has_attribute(at, name)) refuse("{}: attribute \"{}\" is missing", describe(at.get()), name);
  return {TRIREME_HDF5(H5Aopen(at.get(), name.c_str(), H5P_DEFAULT)), H5Aclose};
}

std::array<hsize_t, Shape::max_rank> extents_of(const Shape& shape) {
  std::array<hsize_t, Shape::max_rank> extents{};
  for (int axis = 0; axis < shape.rank(); ++axis) {
    extents[static_cast<std::size_t>(axis)] = static_cast<hsize_t>(shape[axis]);
  }
  return extents;
}

}  // namespace

void Lock::wait() {
  const Activity activity("waiting for HDF5's lock", {}, -1, Waits::for_thread);
  lock_.lock();
}

std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  static const bool ready = start_library();
  static_cast<void>(ready);
  thread_local const bool silent = silence_library(mutex);
  static_cast<void>(silent);
  return mutex;
}

Handle::~Handle() {
  if (close_ == nullptr) return;
  const Lock lock(library_mutex());
  close_(id_);
}

void Handle::close() {
  if (close_ == nullptr) return;
  const Lock lock(library_mutex());
  const std::string name = describe(id_);
  auto* close_function = std::exchange(close_, nullptr);
  if (close_function(std::exchange(id_, H5I_INVALID_HID)) < 0) fail("{}: cannot be closed: {}", name, error_text());
}

void raise(const char* expression, std::source_location where) {
  throw Error(fmt::format("HDF5: {}: {}", expression, error_text()), ExitStatus::failed, where);
}

Handle create_file(const std::filesystem::path& file) {
  const Lock lock(library_mutex());
  const Handle access = file_access();
  const hid_t id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get());
  if (id < 0) fail("{}: cannot be created: {}", file.string(), error_text());
  return {id, H5Fclose};
}

Handle create_in_memory(int descriptor, std::int64_t user_bytes) {
  const Lock lock(library_mutex());
  const std::string path = fmt::format("/proc/self/fd/{}", descriptor);
  const Handle access = file_access();
  // The default driver insists on the name of a real file, and a sieve buffer would fill the memory of small data sets.
  TRIREME_HDF5(H5Pset_fapl_stdio(access.get()));
  TRIREME_HDF5(H5Pset_sieve_buf_size(access.get(), 0));
  const Handle creation(TRIREME_HDF5(H5Pcreate(H5P_FILE_CREATE)), H5Pclose);
  TRIREME_HDF5(H5Pset_userblock(creation.get(), static_cast<hsize_t>(user_bytes)));
  const hid_t id = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get());
  if (id < 0) fail("{}: cannot be created: {}", path, error_text());
  return {id, H5Fclose};
}

Handle open_file(const std::filesystem::path& file) {
  const Lock lock(library_mutex());
  std::error_code error;
  if (!std::filesystem::exists(file, error)) refuse("{}: no such file", file.string());
  if (!std::filesystem::is_regular_file(file, error)) refuse("{}: not a file", file.string());
  const Handle access = file_access();
  // No cache of chunks: the library makes its room by the chunk's size in one message, and reads by another's, which
  // may not agree in a damaged file.
  TRIREME_HDF5(H5Pset_cache(access.get(), 0, 0, 0, 0.0));
  hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, access.get());
  // The library does not try again itself.
  while (id < 0 && errno == EINTR) id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, access.get());
  if (id >= 0) return {id, H5Fclose};
  const std::string reason = error_text();
  if (H5Fis_hdf5(file.c_str()) == 0) refuse("{}: not an HDF5 file", file.string());
  refuse("{}: cannot be opened, it may be cut short or damaged: {}", file.string(), reason);
}

void flush(const Handle& file) {
  const Lock lock(library_mutex());
  if (H5Fflush(file.get(), H5F_SCOPE_GLOBAL) < 0) fail_on(file.get(), "cannot be written");
}

std::string describe(hid_t id) {
  const Lock lock(library_mutex());
  std::string file(4096, '\0');
  std::string object(4096, '\0');
  file.resize(static_cast<std::size_t>(std::clamp<ssize_t>(H5Fget_name(id, file.data(), file.size()), 0, 4095)));
  object.resize(static_cast<std::size_t>(std::clamp<ssize_t>(H5Iget_name(id, object.data(), object.size()), 0, 4095)));
  return object.size() > 1 ? fmt::format("{}: {}", file, object) : file;
}

bool exists(const Handle& at, const std::string& path) {
  const Lock lock(library_mutex());
  // H5Lexists fails rather than says no when a group on the way is missing: ask for each.
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    if (TRIREME_HDF5(H5Lexists(at.get(), path.substr(0, end).c_str(), H5P_DEFAULT)) == 0) return false;
  }
  return TRIREME_HDF5(H5Lexists(at.get(), path.c_str(), H5P_DEFAULT)) > 0;
}

Handle create_group(const Handle& at, const std::string& path) {
  const Lock lock(library_mutex());
  if (exists(at, path)) return open_object(at, path);
  return {TRIREME_HDF5(H5Gcreate2(at.get(), path.c_str(), link_creation().get(), H5P_DEFAULT, H5P_DEFAULT)), H5Gclose};
}

Handle open_object(const Handle& at, const std::string& path) {
  const Lock lock(library_mutex());
  if (!exists(at, path)) refuse("{}: there is no \"{}\"", describe(at.get()), path);
  const hid_t id = H5Oopen(at.get(), path.c_str(), H5P_DEFAULT);
  if (id < 0) fail_on(at.get(), fmt::format("\"{}\" cannot be opened", path));
  return {id, H5Oclose};
}

std::vector<std::string> dataset_paths(const Handle& at) {
  const Lock lock(library_mutex());
  std::vector<std::string> paths;
  TRIREME_HDF5(H5Ovisit2(at.get(), H5_INDEX_NAME, H5_ITER_INC, append_dataset, &paths, H5O_INFO_BASIC));
  return paths;
}

// H5T_NATIVE_* are calls, hence functions and the lock.
#define TRIREME_NATIVE_TYPE(type, id) \
  template <>                         \
  hid_t native_type<type>() {         \
    const Lock lock(library_mutex()); \
    return id;                        \
  }
TRIREME_NATIVE_TYPE(float, H5T_NATIVE_FLOAT)
TRIREME_NATIVE_TYPE(double, H5T_NATIVE_DOUBLE)
TRIREME_NATIVE_TYPE(std::uint8_t, H5T_NATIVE_UINT8)
TRIREME_NATIVE_TYPE(std::uint16_t, H5T_NATIVE_UINT16)
TRIREME_NATIVE_TYPE(std::int32_t, H5T_NATIVE_INT32)
TRIREME_NATIVE_TYPE(std::uint32_t, H5T_NATIVE_UINT32)
TRIREME_NATIVE_TYPE(std::int64_t, H5T_NATIVE_INT64)
TRIREME_NATIVE_TYPE(std::uint64_t, H5T_NATIVE_UINT64)
#undef TRIREME_NATIVE_TYPE

bool has_attribute(const Handle& at, const std::string& name) {
  const Lock lock(library_mutex());
  return TRIREME_HDF5(H5Aexists(at.get(), name.c_str())) > 0;
}

void write_attribute(const Handle& at, const std::string& name, hid_t type, const void* values, std::size_t count,
                     bool scalar) {
  const Lock lock(library_mutex());
  const Handle space =
      scalar ? Handle(TRIREME_HDF5(H5Screate(H5S_SCALAR)), H5Sclose) : make_space({static_cast<std::int64_t>(count)});
  const Handle attribute(TRIREME_HDF5(H5Acreate2(at.get(), name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT)),
                         H5Aclose);
  TRIREME_HDF5(H5Awrite(attribute.get(), type, values));
}

void read_attribute(const Handle& at, const std::string& name, hid_t type, void* values, std::size_t count) {
  const Lock lock(library_mutex());
  const Handle attribute = open_attribute(at, name);
  const Handle space(TRIREME_HDF5(H5Aget_space(attribute.get())), H5Sclose);
  const Handle stored(TRIREME_HDF5(H5Aget_type(attribute.get())), H5Tclose);
  const hssize_t found = TRIREME_HDF5(H5Sget_simple_extent_npoints(space.get()));
  const H5T_class_t kind = H5Tget_class(stored.get());
  if ((kind != H5T_INTEGER && kind != H5T_FLOAT) || found != static_cast<hssize_t>(count)) {
    refuse("{}: attribute \"{}\" should be {} number(s)", describe(at.get()), name, count);
  }
  TRIREME_HDF5(H5Aread(attribute.get(), type, values));
}

void overwrite_attribute(const Handle& at, const std::string& name, hid_t type, const void* values) {
  const Lock lock(library_mutex());
  TRIREME_HDF5(H5Awrite(open_attribute(at, name).get(), type, values));
}

void write_string(const Handle& at, const std::string& name, std::string_view text) {
  const Lock lock(library_mutex());
  const Handle type(TRIREME_HDF5(H5Tcopy(H5T_C_S1)), H5Tclose);
  TRIREME_HDF5(H5Tset_size(type.get(), text.size() + 1));  // ended by a zero, as an empty type is not allowed
  TRIREME_HDF5(H5Tset_cset(type.get(), H5T_CSET_UTF8));
  write_attribute(at, name, type.get(), std::string(text).c_str(), 1, true);
}

std::string read_string(const Handle& at, const std::string& name) {
  const Lock lock(library_mutex());
  const Handle attribute = open_attribute(at, name);
  const Handle type(TRIREME_HDF5(H5Aget_type(attribute.get())), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) != 0) {
    refuse("{}: attribute \"{}\" should be a string of fixed length", describe(at.get()), name);
  }
  const Handle space(TRIREME_HDF5(H5Aget_space(attribute.get())), H5Sclose);
  if (H5Sget_simple_extent_npoints(space.get()) != 1) {
    refuse("{}: attribute \"{}\" should be one string", describe(at.get()), name);
  }
  std::string text(H5Tget_size(type.get()), '\0');
  TRIREME_HDF5(H5Aread(attribute.get(), type.get(), text.data()));
  if (text.back() == '\0') text.pop_back();
  return text;
}

Handle create_dataset(const Handle& at, const std::string& path, hid_t type, const Shape& shape, std::int64_t chunk) {
  const Lock lock(library_mutex());
  const Handle properties(TRIREME_HDF5(H5Pcreate(H5P_DATASET_CREATE)), H5Pclose);
  if (chunk > 0) {
    auto extents = extents_of(shape);
    extents[0] = static_cast<hsize_t>(chunk);
    TRIREME_HDF5(H5Pset_chunk(properties.get(), shape.rank(), extents.data()));
  }
  return create_dataset(at, path, type, make_space(shape, chunk > 0), properties);
}

Handle create_dataset(const Handle& at, const std::string& path, hid_t type, const Handle& space,
                      const Handle& properties) {
  const Lock lock(library_mutex());
  return {TRIREME_HDF5(H5Dcreate2(at.get(), path.c_str(), type, space.get(), link_creation().get(), properties.get(),
                                  H5P_DEFAULT)),
          H5Dclose};
}

void resize(const Handle& dataset, const Shape& shape) {
  const Lock lock(library_mutex());
  TRIREME_HDF5(H5Dset_extent(dataset.get(), extents_of(shape).data()));
}

Shape shape_of(const Handle& dataset) {
  const Lock lock(library_mutex());
  if (H5Iget_type(dataset.get()) != H5I_DATASET) refuse("{}: not a data set", describe(dataset.get()));
  const Handle space(TRIREME_HDF5(H5Dget_space(dataset.get())), H5Sclose);
  std::vector<hsize_t> extents(H5S_MAX_RANK);
  extents.resize(
      static_cast<std::size_t>(TRIREME_HDF5(H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr))));
  return make_shape({extents.begin(), extents.end()}, describe(dataset.get()));
}

Shape stored_shape_of(const Handle& dataset) {
  const Lock lock(library_mutex());
  const Shape shape = shape_of(dataset);
  const Handle properties(TRIREME_HDF5(H5Dget_create_plist(dataset.get())), H5Pclose);
  const H5D_layout_t layout = TRIREME_HDF5(H5Pget_layout(properties.get()));
  if (layout == H5D_VIRTUAL || (layout == H5D_CONTIGUOUS && TRIREME_HDF5(H5Pget_external_count(properties.get())) > 0))
    refuse("{}: its values are in other files", describe(dataset.get()));
  std::array<hsize_t, H5S_MAX_RANK> chunk{};
  std::vector<std::int64_t> extents;
  if (layout == H5D_CHUNKED) {
    extents.resize(static_cast<std::size_t>(TRIREME_HDF5(H5Pget_chunk(properties.get(), chunk.size(), chunk.data()))));
    std::copy_n(chunk.begin(), extents.size(), extents.begin());
  }
  const Handle type(TRIREME_HDF5(H5Dget_type(dataset.get())), H5Tclose);
  const Handle file(TRIREME_HDF5(H5Iget_file_id(dataset.get())), H5Fclose);
  hsize_t file_bytes = 0;
  TRIREME_HDF5(H5Fget_filesize(file.get(), &file_bytes));
  const auto claim =
      static_cast<hsize_t>(std::max(shape.elements(), make_shape(extents, describe(dataset.get())).elements()));
  if (claim > file_bytes / std::max<std::size_t>(1, H5Tget_size(type.get())))
    refuse("{}: damaged: it claims {} elements, more than its file of {} bytes can hold", describe(dataset.get()),
           claim, file_bytes);
  return shape;
}

bool has_type(const Handle& dataset, H5T_class_t kind, std::size_t bytes) {
  const Lock lock(library_mutex());
  const Handle type(TRIREME_HDF5(H5Dget_type(dataset.get())), H5Tclose);
  return H5Tget_class(type.get()) == kind && H5Tget_size(type.get()) == bytes;
}

void write_box(const Handle& dataset, const Offset& offset, const Shape& count, hid_t type, const void* values) {
  if (count.elements() == 0) return;
  const Lock lock(library_mutex());
  const Handle memory = make_space(count);
  const Handle file(TRIREME_HDF5(H5Dget_space(dataset.get())), H5Sclose);
  select_box(file, offset, count);
  if (H5Dwrite(dataset.get(), type, memory.get(), file.get(), H5P_DEFAULT, values) < 0) {
    fail_on(dataset.get(), "cannot be written");
  }
}

void read_box(const Handle& dataset, const Offset& offset, const Shape& count, hid_t type, void* values) {
  if (count.elements() == 0) return;
  const Lock lock(library_mutex());
  const Handle memory = make_space(count);
  const Handle file(TRIREME_HDF5(H5Dget_space(dataset.get())), H5Sclose);
  select_box(file, offset, count);
  if (H5Dread(dataset.get(), type, memory.get(), file.get(), H5P_DEFAULT, values) < 0) {
    fail_on(dataset.get(), "cannot be read");
  }
}

std::int64_t place(const Handle& dataset) {
  const Lock lock(library_mutex());
  // The first value that is written makes the library choose; early allocation would put data between objects.
  const Handle file(TRIREME_HDF5(H5Dget_space(dataset.get())), H5Sclose);
  const Handle memory = make_space({1});
  const std::array<hsize_t, Shape::max_rank> origin{};
  TRIREME_HDF5(H5Sselect_elements(file.get(), H5S_SELECT_SET, 1, origin.data()));
  const float value = 0;
  TRIREME_HDF5(H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, memory.get(), file.get(), H5P_DEFAULT, &value));
  const haddr_t offset = H5Dget_offset(dataset.get());
  if (offset == HADDR_UNDEF) fail_on(dataset.get(), "has no place in the file");
  return static_cast<std::int64_t>(offset);
}

void write_bytes(const Handle& at, const std::string& path, std::string_view bytes) {
  const Shape shape = {static_cast<std::int64_t>(bytes.size())};
  write_box(create_dataset<std::uint8_t>(at, path, shape), {}, shape, native_type<std::uint8_t>(), bytes.data());
}

std::string read_bytes(const Handle& at, const std::string& path) {
  const Handle dataset = open_object(at, path);
  const Shape shape = stored_shape_of(dataset);
  if (shape.rank() != 1) refuse("{}: should have one axis, not {}", describe(dataset.get()), shape.rank());
  std::string bytes(static_cast<std::size_t>(shape[0]), '\0');
  read_box(dataset, {}, shape, native_type<std::uint8_t>(), bytes.data());
  return bytes;
}

Shape make_shape(const std::vector<std::int64_t>& extents, const std::string& owner) {
  if (extents.size() > Shape::max_rank)
    refuse("{}: has {} axes; at most {} are read", owner, extents.size(), Shape::max_rank);
  // The product of any of them, times the size of an element, is an int64.
  std::int64_t room = std::numeric_limits<std::int64_t>::max() / 16;
  for (const std::int64_t extent : extents) {
    if (extent < 0 || extent > room) refuse("{}: its extents {} are beyond any file", owner, fmt::join(extents, " x "));
    room /= std::max<std::int64_t>(extent, 1);
  }
  return Shape(extents);
}

Handle make_space(const Shape& shape, bool growing) {
  const Lock lock(library_mutex());
  auto limits = extents_of(shape);
  if (growing) limits[0] = H5S_UNLIMITED;
  return {TRIREME_HDF5(H5Screate_simple(shape.rank(), extents_of(shape).data(), limits.data())), H5Sclose};
}

void select_box(const Handle& space, const Offset& offset, const Shape& count) {
  const Lock lock(library_mutex());
  std::array<hsize_t, Shape::max_rank> start{};
  std::copy(offset.begin(), offset.end(), start.begin());
  TRIREME_HDF5(
      H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extents_of(count).data(), nullptr));
}

}  // namespace trireme::hdf5
