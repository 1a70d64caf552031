// Copies of complete checkpoints in an object store, and their way back.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "io/checkpoint/saver.h"
#include "io/mirror/manifest.h"
#include "io/mirror/object_store.h"

namespace trireme {

/// Used by one process at a time. Errors name the object or file. At most four parts of a file are in memory.
class CheckpointMirror {
 public:
  /// See mirror::make_object_store. When a stop is requested, what is under way fails soon.
  explicit CheckpointMirror(const std::string& place, const std::stop_token& stop = {});
  CheckpointMirror(std::unique_ptr<mirror::ObjectStore> store, std::stop_token stop);

  /// Of complete copies, ascending.
  std::vector<std::int64_t> steps();
  /// Of a complete copy. Throws DamagedCheckpoint where it is none.
  mirror::Manifest manifest(std::int64_t step);
  std::string describe(std::int64_t step) const;

  /// Called with the bytes that have come over so far, by several threads.
  using Progress = std::function<void(std::int64_t)>;
  /// Copies checkpoint_path(directory, step), which is complete on return, or not there at all; it replaces another
  /// copy of that step. Fails when the folder changes meanwhile.
  mirror::Manifest copy(const std::filesystem::path& directory, std::int64_t step, const Progress& progress = nullptr);
  /// Removes what prune_checkpoints would (see there), and what interrupted copies left.
  void prune(const Retention& retention, std::int64_t last);
  /// Makes checkpoint_path(directory, step), which must not be there, from the copy; all of it or nothing. Throws
  /// DamagedCheckpoint for what is missing or fails its checksum. Refuses what the disk has no room for.
  std::filesystem::path restore(std::int64_t step, const std::filesystem::path& directory,
                                const Progress& progress = nullptr);

 private:
  std::string read_part(const std::string& name, const mirror::MirroredFile& file, std::int64_t part);

  std::unique_ptr<mirror::ObjectStore> store_;
  std::stop_token stop_;
};

}  // namespace trireme
