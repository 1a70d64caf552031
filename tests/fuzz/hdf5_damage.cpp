#include "tests/fuzz/hdf5_damage.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <limits>

#include "io/checkpoint/sealed_file.h"
#include "io/hdf5.h"

namespace trireme::fuzz {
namespace {

constexpr int most_axes = 6;  // more than the program reads

/// Extents, counts and offsets that arithmetic trips over.
constexpr std::array<hsize_t, 16> odd_sizes = {0,          1,          2,          3,
                                               6,          7,          64,         1000,
                                               0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ULL << 40,
                                               1ULL << 61, 1ULL << 62, 1ULL << 63, std::numeric_limits<hsize_t>::max()};

hdf5::Handle string_type(std::size_t size) {
  hdf5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), size);
  return type;
}

/// A type that the program expects somewhere, or not at all.
hdf5::Handle odd_type(Input& input) {
  const auto copy = [](hid_t type) { return hdf5::Handle(H5Tcopy(type), H5Tclose); };
  switch (input.below(16)) {
    case 0:
      return string_type(1 + input.below(600));
    case 1:
      return string_type(H5T_VARIABLE);
    case 2:
      return copy(H5T_NATIVE_INT8);
    case 3:
      return copy(H5T_STD_U16BE);
    case 4:
      return copy(H5T_NATIVE_INT32);
    case 5:
      return copy(H5T_NATIVE_INT64);
    case 6:
      return copy(H5T_NATIVE_UINT64);
    case 7:
      return copy(H5T_NATIVE_FLOAT);
    case 8:
      return copy(H5T_IEEE_F64BE);
    case 9: {
      const hsize_t count = odd_sizes[input.below(8)];
      return {H5Tarray_create2(H5T_NATIVE_INT, 1, &count), H5Tclose};
    }
    case 10:
      return {H5Tvlen_create(H5T_NATIVE_INT), H5Tclose};
    case 11: {
      hdf5::Handle type(H5Tcreate(H5T_COMPOUND, 16), H5Tclose);
      H5Tinsert(type.get(), "a", 0, H5T_NATIVE_INT64);
      H5Tinsert(type.get(), "b", 8, H5T_NATIVE_DOUBLE);
      return type;
    }
    case 12: {
      hdf5::Handle type(H5Tenum_create(H5T_NATIVE_INT), H5Tclose);
      const int value = 1;
      H5Tenum_insert(type.get(), "one", &value);
      return type;
    }
    case 13:
      return {H5Tcreate(H5T_OPAQUE, 1 + input.below(64)), H5Tclose};
    case 14:
      return copy(H5T_STD_REF_OBJ);
    default:
      return copy(H5T_NATIVE_UINT8);
  }
}

hdf5::Handle odd_space(Input& input, std::size_t sizes) {
  const auto kind = input.below(most_axes + 3);
  if (kind == 0) return {H5Screate(H5S_SCALAR), H5Sclose};
  if (kind == 1) return {H5Screate(H5S_NULL), H5Sclose};
  const auto axes = kind == 2 ? 1 : kind - 2;
  std::array<hsize_t, most_axes> extents{};
  for (std::size_t axis = 0; axis < axes; ++axis) extents[axis] = odd_sizes[input.below(sizes)];
  return {H5Screate_simple(static_cast<int>(axes), extents.data(), nullptr), H5Sclose};
}

/// The library's own count overflows.
double elements_of(hid_t space) {
  std::array<hsize_t, H5S_MAX_RANK> extents{};
  const int axes = H5Sget_simple_extent_dims(space, extents.data(), nullptr);
  double count = H5Sget_simple_extent_type(space) == H5S_NULL ? 0 : 1;
  for (int axis = 0; axis < axes; ++axis) count *= static_cast<double>(extents[static_cast<std::size_t>(axis)]);
  return count;
}

/// So many bytes, the first of them from the input.
std::string values_of(Input& input, std::size_t bytes) {
  std::string values(bytes, '\0');
  for (std::size_t at = 0; at < bytes && !input.empty(); ++at)
    values[at] = static_cast<char>(input.take<std::uint8_t>());
  return values;
}

/// Bytes of memory that values of this type and space take; 0 where they hold pointers, or are too many to write.
std::size_t bytes_to_write(hid_t type, hid_t space) {
  if (H5Tdetect_class(type, H5T_VLEN) > 0 || H5Tis_variable_str(type) > 0) return 0;
  const double elements = elements_of(space);
  return elements > 4096 ? 0 : static_cast<std::size_t>(elements) * H5Tget_size(type);
}

void replace_attribute(hid_t object, Input& input) {
  std::array<char, 100> name{};
  const auto count = static_cast<std::size_t>(std::max(0, H5Aget_num_attrs(object)));
  if (H5Aget_name_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, input.below(count), name.data(), name.size(),
                         H5P_DEFAULT) < 0)
    return;
  hdf5::Handle type;
  hdf5::Handle space;
  if (input.below(2) == 0) {  // another value
    const hdf5::Handle old(H5Aopen(object, name.data(), H5P_DEFAULT), H5Aclose);
    type = {H5Aget_type(old.get()), H5Tclose};
    space = {H5Aget_space(old.get()), H5Sclose};
  } else {
    type = odd_type(input);
    space = odd_space(input, 8);
    if (elements_of(space.get()) > 10'000) return;
  }
  H5Adelete(object, name.data());
  const hdf5::Handle attribute(H5Acreate2(object, name.data(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
                               H5Aclose);
  const std::size_t bytes = bytes_to_write(type.get(), space.get());
  if (attribute.get() < 0 || bytes == 0) return;
  std::string values = values_of(input, bytes);
  if (bytes == 8 && input.below(2) == 0) std::memcpy(values.data(), &odd_sizes[input.below(16)], bytes);
  H5Awrite(attribute.get(), type.get(), values.data());
}

/// Boxes of other files, or of this one, that a virtual data set claims to show.
void add_mappings(hid_t properties, hid_t space, const std::string& path, Input& input) {
  std::array<hsize_t, H5S_MAX_RANK> extents{};
  const int axes = H5Sget_simple_extent_dims(space, extents.data(), nullptr);
  for (auto left = input.below(4); left > 0 && axes > 0; --left) {
    std::array<hsize_t, H5S_MAX_RANK> start{};
    std::array<hsize_t, H5S_MAX_RANK> count{};
    for (int axis = 0; axis < axes; ++axis) {
      const auto a = static_cast<std::size_t>(axis);
      start[a] = input.below(2) == 0 ? 0 : odd_sizes[input.below(16)];
      count[a] = input.below(2) == 0 ? extents[a] : odd_sizes[input.below(16)];
    }
    const hdf5::Handle source(H5Screate_simple(axes, count.data(), nullptr), H5Sclose);
    const hdf5::Handle target(H5Scopy(space), H5Sclose);
    // Blocks apart from each other are written one by one: there may be only so many.
    const std::size_t stride = input.below(3);
    if (stride > 0) std::ranges::for_each(count, [](hsize_t& blocks) { blocks = std::min<hsize_t>(blocks, 7); });
    const std::vector<hsize_t> strides(static_cast<std::size_t>(axes), stride);
    if (H5Sselect_hyperslab(target.get(), H5S_SELECT_SET, start.data(), stride == 0 ? nullptr : strides.data(),
                            count.data(), nullptr) < 0)
      continue;
    static const std::array<const char*, 6> files = {"shard-00000.h5", "model.h5", ".", "", "../x.h5", "shard-9.h5"};
    H5Pset_virtual(properties, target.get(), input.one_of(files), path.c_str(), source.get());
  }
}

/// Lets the data set's space be reserved late or never: claims beyond the file's size cost nothing to write.
void replace_dataset(hid_t file, const std::string& path, Input& input) {
  const hdf5::Handle type = odd_type(input);
  const hdf5::Handle space = odd_space(input, odd_sizes.size());
  const hdf5::Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  switch (input.below(5)) {
    case 0:  // the library would reserve what is beyond the limit of compact data sets before it refuses
      if (elements_of(space.get()) < 100) H5Pset_layout(properties.get(), H5D_COMPACT);
      break;
    case 1: {
      // A filtered chunk of gigabytes would be filled at once.
      const bool filtered = input.below(2) == 1;
      std::array<hsize_t, H5S_MAX_RANK> chunk{};
      const int axes = std::max(0, H5Sget_simple_extent_ndims(space.get()));
      for (int axis = 0; axis < axes; ++axis) {
        chunk[static_cast<std::size_t>(axis)] = odd_sizes[input.below(filtered ? 6 : 11)];
      }
      H5Pset_chunk(properties.get(), axes, chunk.data());
      if (filtered) H5Pset_deflate(properties.get(), 1);
      if (filtered) H5Pset_fletcher32(properties.get());
      break;
    }
    case 2:
      add_mappings(properties.get(), space.get(), path, input);
      break;
    case 3:
      H5Pset_external(properties.get(), "/proc/self/exe", 0, odd_sizes[input.below(16)]);
      break;
    default:
      break;
  }
  H5Ldelete(file, path.c_str(), H5P_DEFAULT);
  const hdf5::Handle dataset(
      H5Dcreate2(file, path.c_str(), type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose);
  const std::size_t bytes = dataset.get() < 0 ? 0 : bytes_to_write(type.get(), space.get());
  if (bytes == 0 || input.below(2) == 0) return;
  const std::string values = values_of(input, bytes);
  // What cannot be written (a chunk of gigabytes, another program's file) is left as it is.
  if (H5Pget_layout(properties.get()) <= H5D_CONTIGUOUS) {
    H5Dwrite(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  }
}

void replace_link(hid_t file, const std::string& path, const std::string& other, Input& input) {
  H5Ldelete(file, path.c_str(), H5P_DEFAULT);
  switch (input.below(4)) {
    case 0:
      H5Lcreate_hard(file, other.c_str(), file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT);  // a circle, perhaps
      break;
    case 1:
      H5Lcreate_soft(other.c_str(), file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT);
      break;
    case 2:
      H5Lcreate_external("shard-00000.h5", other.c_str(), file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT);
      break;
    default:
      break;  // gone
  }
}

/// What other programs can make of the file through the library.
void change_through_library(const SeedFile& seed, const std::filesystem::path& file, Input& input) {
  const hdf5::Lock lock(hdf5::library_mutex());
  const hdf5::Handle opened(H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
  for (std::size_t left = input.below(4); left > 0; --left) {
    const std::string& path = input.one_of(seed.objects);
    const auto kind = input.below(4);
    if (kind <= 1) {
      const hdf5::Handle object(H5Oopen(opened.get(), path.c_str(), H5P_DEFAULT), H5Oclose);
      if (object.get() >= 0) replace_attribute(object.get(), input);
    } else if (path != "/") {
      if (kind == 2) replace_dataset(opened.get(), path, input);
      if (kind == 3) replace_link(opened.get(), path, input.one_of(seed.objects), input);
    }
  }
}

/// What the library changed in a checkpoint's file gets a seal that fits, for the reader to look behind it.
void seal_anew(std::string& bytes) {
  if (!bytes.starts_with("trireme-seal")) return;
  const std::string structure = bytes.substr(512);
  bytes = checkpoint::make_seal(std::ssize(bytes), structure) + structure;
}

std::string read_all(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A file of its own each time: what the library has not let go of must not be taken for it.
void write_all(const std::filesystem::path& file, const std::string& bytes) {
  std::filesystem::remove(file);
  std::ofstream(file, std::ios::binary) << bytes;
}

/// What disks, and programs that die, make of a file.
void change_bytes(std::string& bytes, Input& input) {
  for (std::size_t left = 1 + input.below(8); left > 0 && !bytes.empty(); --left) {
    const std::size_t at = input.take<std::uint32_t>() % bytes.size();
    switch (input.below(6)) {
      case 0:
        bytes.resize(at);
        break;
      case 1: {
        const hsize_t odd = input.one_of(odd_sizes);
        std::memcpy(&bytes[at], &odd, std::min(sizeof(odd), bytes.size() - at));
        break;
      }
      case 2: {  // a block of another place
        const std::size_t from = input.take<std::uint32_t>() % bytes.size();
        const std::size_t count = std::min({std::size_t{512}, bytes.size() - at, bytes.size() - from});
        bytes.replace(at, count, bytes.substr(from, count));
        break;
      }
      case 3: {
        const std::size_t count = std::min(std::size_t{512}, bytes.size() - at);
        bytes.replace(at, count, count, 0);
      } break;
      default:
        bytes[at] = static_cast<char>(bytes[at] ^ (1U << input.below(8)));
    }
  }
}

herr_t collect(hid_t /*object*/, const char* name, const H5O_info_t* /*info*/, void* objects) {
  static_cast<std::vector<std::string>*>(objects)->push_back(*name == '.' ? "/" : "/" + std::string(name));
  return 0;
}

}  // namespace

SeedFile::SeedFile(const std::filesystem::path& file) : bytes(read_all(file)) {
  const hdf5::Lock lock(hdf5::library_mutex());
  H5Ovisit2(hdf5::open_file(file).get(), H5_INDEX_NAME, H5_ITER_INC, collect, &objects, H5O_INFO_BASIC);
}

void write_damaged(const SeedFile& seed, const std::filesystem::path& file, Input& input) {
  write_all(file, seed.bytes);
  if (input.empty()) return;
  const auto kind = input.below(4);
  if (kind < 3) change_through_library(seed, file, input);
  std::string bytes = read_all(file);
  if (kind < 3) seal_anew(bytes);
  if (kind >= 2) change_bytes(bytes, input);
  write_all(file, bytes);
}

Folder::Folder() {
  const bool memory = ::access("/dev/shm", W_OK) == 0;
  std::string name = (memory ? "/dev/shm" : std::filesystem::temp_directory_path().string()) + "/trireme-fuzz-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) fail("{}: cannot be made", name);
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace trireme::fuzz
