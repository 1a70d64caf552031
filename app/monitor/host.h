// What the system tells of this host; nothing where it does not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace trireme {

struct HostMemory {
  double bytes = 0, available_bytes = 0;
};
std::optional<HostMemory> host_memory();

/// Bytes of main memory that a process has, 0 for one that is gone.
double resident_bytes(std::int32_t process);

struct FileSystemRoom {
  double bytes = 0, available_bytes = 0;  ///< to those who are not root
};
/// Of the file system that bears `path`, or its nearest folder that exists.
std::optional<FileSystemRoom> room_at(std::filesystem::path path);

/// Bytes of the files in a folder.
std::optional<double> bytes_in(const std::filesystem::path& folder);

}  // namespace trireme
