// The checkpoint directory as the hosts of a job see it.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>

#include "app/doctor/judge.h"

namespace trireme {

/// The directory, or the nearest folder above it that exists: where it would be made.
std::filesystem::path existing_part(const std::filesystem::path& directory);

/// A file system that answers no more blocks its callers for ever, so all that asks it runs on a thread of its own
/// which may stay behind. Throws Error: of what went wrong, or that nothing came in time.
void within(std::chrono::duration<double> patience, const std::filesystem::path& path, std::function<void()> work);

/// Free space, what incomplete checkpoints hold counted as free: the next save removes them.
Space space_of(const std::filesystem::path& directory);

/// Bytes a second at which a new file reaches the disk, fsync included; 0 where there is no room to try. Takes at most
/// half a second, or as long as 2 MB do.
double write_speed(const std::filesystem::path& file);

/// A folder in the checkpoint directory in which hosts leave each other signs. Made by one rank, removed with it.
class MeetingPlace {
 public:
  explicit MeetingPlace(const std::filesystem::path& directory);
  ~MeetingPlace();
  MeetingPlace(const MeetingPlace&) = delete;
  MeetingPlace& operator=(const MeetingPlace&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void leave_sign(const std::filesystem::path& meeting_place, int rank);
/// Waits until the sign of `rank` can be seen: network file systems show the work of others a little later.
bool sees_sign(const std::filesystem::path& meeting_place, int rank, std::chrono::duration<double> patience);

}  // namespace trireme
