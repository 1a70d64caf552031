// The files of a checkpoint: HDF5 files behind a seal.
//
// HDF5 leaves the first 512 bytes of a file to its users. Here they hold one line, then zeros:
//   trireme-seal bytes=SIZE structure=END xxh64=HEX
// SIZE is the file's. The bytes [512, END) are all that is not tensor data: HDF5's own structure, names, attributes,
// the tokenizer. The checksum is of the line up to END and of these bytes. It is tested before HDF5 sees the file,
// whose library neither checks all that it reads nor survives everything. The tensors behind END have checksums of
// their own. A later version of the format keeps this line as it is, so that its number can be read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint/file_operations.h"
#include "io/hdf5.h"

namespace trireme::checkpoint {

/// A file being written. HDF5 lays it out in memory; only the operations of `files` touch the disk, and HDF5's lock is
/// not held meanwhile.
class SealedFile {
 public:
  explicit SealedFile(const std::filesystem::path& path);
  /// Where to make groups, attributes and data sets.
  const hdf5::Handle& layout() const { return layout_; }
  /// Gives data sets that nothing was written to their places in the file, behind everything else: no object may be
  /// made afterwards. Their offsets in bytes.
  std::vector<std::int64_t> place(const std::vector<hdf5::Handle>& datasets);
  /// Writes a data set's bytes to its place. Returns their checksum.
  std::uint64_t write(std::int64_t place, std::string_view bytes);
  /// Returns when the file is whole and on disk. All handles of objects in it must be closed.
  void finish();

 private:
  std::filesystem::path path_;
  files::Output output_;
  files::Descriptor memory_;
  hdf5::Handle layout_;
  std::int64_t structure_end_ = 0, end_ = 0;  // 0: no data sets were placed
};

/// Opens a file for reading after its seal was tested. Throws DamagedCheckpoint when it is missing, cut short, foreign
/// or changed. A file without a seal, as the first version 1 wrote them, opens as HDF5 finds it.
hdf5::Handle open_sealed(const std::filesystem::path& path);

/// The first bytes of a file of that size with this structure, which begins behind the seal.
std::string make_seal(std::int64_t file_bytes, std::string_view structure);

}  // namespace trireme::checkpoint
