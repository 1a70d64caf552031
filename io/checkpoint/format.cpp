#include "io/checkpoint/format.h"

#include <xxhash.h>

#include "kernels/error.h"

namespace trireme::checkpoint {

std::string shard_file(int number) { return fmt::format("shard-{:05}.h5", number); }

std::filesystem::path partial_path(const std::filesystem::path& folder) { return folder.string() + ".partial"; }

std::filesystem::path replaced_path(const std::filesystem::path& folder) { return folder.string() + ".replaced"; }

std::filesystem::path damaged_path(const std::filesystem::path& folder) { return folder.string() + ".damaged"; }

void check_format(const hdf5::Handle& file, const std::string& format) {
  const std::string name = hdf5::describe(file.get());
  const std::string found =
      or_damaged([&] { return hdf5::has_attribute(file, "format") ? hdf5::read_string(file, "format") : ""; });
  if (found != format) {
    const std::string what = found.empty() ? "attribute \"format\" is missing" : fmt::format("format is \"{}\"", found);
    throw DamagedCheckpoint(fmt::format("{}: not a file of a checkpoint: {}, expected \"{}\"", name, what, format));
  }
  const int found_version = or_damaged([&] { return hdf5::read_number<int>(file, "version"); });
  if (found_version != version) {
    refuse("{}: checkpoint format version is {}, this program reads version {}", name, found_version, version);
  }
}

Checksum::Checksum() : state_(XXH64_createState(), [](XXH64_state_s* state) { return int{XXH64_freeState(state)}; }) {
  XXH64_reset(state_.get(), 0);
}

void Checksum::add(std::string_view bytes) { XXH64_update(state_.get(), bytes.data(), bytes.size()); }

std::uint64_t Checksum::value() const { return XXH64_digest(state_.get()); }

std::uint64_t checksum(std::string_view bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

}  // namespace trireme::checkpoint
