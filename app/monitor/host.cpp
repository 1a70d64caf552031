#include "app/monitor/host.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <string>
#include <system_error>

namespace trireme {
namespace {

namespace fs = std::filesystem;

}  // namespace

std::optional<HostMemory> host_memory() {
  std::ifstream file("/proc/meminfo");
  HostMemory memory;
  double kibibytes = 0;
  for (std::string name; file >> name >> kibibytes; file.ignore(std::numeric_limits<std::streamsize>::max(), '\n')) {
    if (name == "MemTotal:") memory.bytes = 1024 * kibibytes;
    if (name == "MemAvailable:") memory.available_bytes = 1024 * kibibytes;
  }
  if (memory.bytes <= 0) return {};
  return memory;
}

double resident_bytes(std::int32_t process) {
  std::ifstream file(fmt::format("/proc/{}/statm", process));
  double whole = 0;
  double resident = 0;  // pages
  return file >> whole >> resident ? resident * static_cast<double>(sysconf(_SC_PAGESIZE)) : 0;
}

std::optional<FileSystemRoom> room_at(fs::path path) {
  std::error_code error;
  path = fs::absolute(path, error);
  while (!fs::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  const fs::space_info space = fs::space(path, error);
  if (error) return {};
  return FileSystemRoom{.bytes = static_cast<double>(space.capacity),
                        .available_bytes = static_cast<double>(space.available)};
}

std::optional<double> bytes_in(const fs::path& folder) {
  std::error_code error;
  double bytes = 0;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->is_regular_file(error)) bytes += static_cast<double>(entry->file_size(error));
    if (error) break;
  }
  if (error) return {};
  return bytes;
}

}  // namespace trireme
