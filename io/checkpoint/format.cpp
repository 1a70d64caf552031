#include "io/checkpoint/format.h"

#include <xxhash.h>

#include "kernels/error.h"

namespace trireme::checkpoint {

std::string shard_file(int number) { return fmt::format("shard-{:05}.h5", number); }

std::filesystem::path partial_path(const std::filesystem::path& folder) { return folder.string() + ".partial"; }

std::filesystem::path replaced_path(const std::filesystem::path& folder) { return folder.string() + ".replaced"; }

void check_format(const hdf5::Handle& file, const std::string& format) {
  const std::string name = hdf5::describe(file.get());
  if (!hdf5::has_attribute(file, "format"))
    refuse("{}: not a file of a checkpoint: attribute \"format\" is missing", name);
  const std::string found = hdf5::read_string(file, "format");
  if (found != format) refuse("{}: format is \"{}\", expected \"{}\"", name, found, format);
  const int found_version = hdf5::read_number<int>(file, "version");
  if (found_version != version) {
    refuse("{}: checkpoint format version is {}, this program reads version {}", name, found_version, version);
  }
}

std::uint64_t checksum(const std::string& bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

}  // namespace trireme::checkpoint
