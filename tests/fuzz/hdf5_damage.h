// Damage to HDF5 files, told by the bytes of a fuzz input: what a faulty disk does, and what a foreign or broken
// program writes through the library.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/fuzz/input.h"

namespace trireme::fuzz {

/// A small file in memory, and the paths of what it holds.
struct SeedFile {
  explicit SeedFile(const std::filesystem::path& file);
  std::string bytes;
  std::vector<std::string> objects;  ///< "/", groups and data sets
};

/// Writes the seed to `file`, anew, with the damage that the input tells; none when it is empty.
void write_damaged(const SeedFile& seed, const std::filesystem::path& file, Input& input);

/// A folder of this process, in memory where there is one, gone when the process ends.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace trireme::fuzz
