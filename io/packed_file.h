// What readers of data sets have in common: the check of what a file is, and several files that make one set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "io/hdf5.h"

namespace trireme {

/// A format of files that `trireme pack KIND` makes.
struct PackedFormat {
  std::string_view name;        ///< attribute "format"
  std::string_view what, kind;  ///< for people: "text lines", "ocr"
  int oldest = 1, newest = 1;   ///< versions that this program reads
};

/// Refuses a file of another format or version, naming it.
void expect_format(const hdf5::Handle& file, const std::filesystem::path& path, const PackedFormat& format);

/// The file that holds a place of the whole set: the last whose first place, in the member `first`, is not beyond it.
template <typename File>
const File& file_of(const std::vector<File>& files, std::int64_t place) {
  const auto after = std::upper_bound(files.begin(), files.end(), place,
                                      [](std::int64_t wanted, const File& file) { return wanted < file.first; });
  return *(after - 1);
}

}  // namespace trireme
