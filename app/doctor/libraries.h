// Which builds of the program and its libraries this process runs.
#pragma once

#include <string>
#include <vector>

namespace trireme {

struct LoadedLibrary {
  std::string name;     ///< as it is linked against: "libmpi.so.40"; "trireme" for the program itself
  std::string version;  ///< the file that the name leads to: "libmpi.so.40.30.4"; the program's version
  std::string build;    ///< the linker's build ID, in hexadecimal; where it has none, its size in bytes

  bool operator==(const LoadedLibrary&) const = default;
};

/// All that is mapped now, the program first. Vendor libraries that are loaded when first needed may not be there yet.
std::vector<LoadedLibrary> loaded_libraries();
/// Those of `mine` that `others` have too, but as another file.
std::vector<LoadedLibrary> differing(const std::vector<LoadedLibrary>& mine, const std::vector<LoadedLibrary>& others);

}  // namespace trireme
