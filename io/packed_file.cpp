#include "io/packed_file.h"

#include "kernels/error.h"

namespace trireme {

void expect_format(const hdf5::Handle& file, const std::filesystem::path& path, const PackedFormat& format) {
  if (!hdf5::has_attribute(file, "format"))
    refuse("{}: not a data set of {} (no attribute \"format\"); make one with 'trireme pack {}'", path.string(),
           format.what, format.kind);
  if (const std::string found = hdf5::read_string(file, "format"); found != format.name)
    refuse("{}: format is \"{}\", expected \"{}\"", path.string(), found, format.name);
  if (const auto version = hdf5::read_number<std::int32_t>(file, "version");
      version < format.oldest || version > format.newest)
    refuse("{}: format version {}, but this program reads version {}", path.string(), version,
           format.oldest == format.newest ? fmt::format("{}", format.newest)
                                          : fmt::format("{} to {}", format.oldest, format.newest));
}

}  // namespace trireme
