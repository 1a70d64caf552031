// What tells of a copy of a checkpoint in an object store. Layout of a store (version 1):
//
//   step-00000100.3f2a90b17c55d6e8/shard-00000.h5, model.h5 ...   the checkpoint's files; behind the point, its
//   identity step-00000100.json      the manifest, written last: a copy without one does not count. JSON object: format
//   =
//                           "trireme-mirror", version, step, identity, files: [{name, bytes, part_bytes, sha256: [of
//                           each part of part_bytes, the last one shorter, in hexadecimal]}]
//
// Another checkpoint of the same step comes into a folder of its own, and replaces the manifest in one operation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::mirror {

struct MirroredFile {
  std::string name;
  std::int64_t bytes = 0;
  std::int64_t part_bytes = 1;
  std::vector<std::string> sha256;  ///< of each part

  std::int64_t parts() const { return (bytes + part_bytes - 1) / part_bytes; }
};

struct Manifest {
  std::int64_t step = 0;
  std::string identity;
  std::vector<MirroredFile> files;

  std::string folder() const;  ///< "step-00000100.3f2a90b17c55d6e8"
  std::int64_t bytes() const;
};

inline constexpr std::int64_t largest_manifest = std::int64_t{64} << 20;
inline constexpr std::int64_t largest_part = std::int64_t{1} << 30;

std::string manifest_name(std::int64_t step);                         ///< "step-00000100.json"
std::optional<std::int64_t> step_of_manifest(std::string_view name);  ///< nothing for any other name

std::string to_json(const Manifest& manifest);
/// Throws DamagedCheckpoint for what is none, with names that lead elsewhere or sizes that cannot be. `name` is for the
/// message.
Manifest parse_manifest(const std::string& json, const std::string& name);

/// The files of a complete checkpoint, by name; their parts are still to be filled in. Empty where the folder is gone.
std::vector<MirroredFile> files_of(const std::filesystem::path& folder);
/// Two checkpoints have the same only if they hold the same: of the files' names, sizes and seals, which tell of the
/// checksums of all that is in them.
std::string identity_of(const std::filesystem::path& folder, const std::vector<MirroredFile>& files);

}  // namespace trireme::mirror
