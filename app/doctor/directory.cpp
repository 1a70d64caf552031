#include "app/doctor/directory.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "io/checkpoint/checkpoint.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;

/// An open file that is to be gone afterwards.
class ScratchFile {
 public:
  explicit ScratchFile(std::filesystem::path path)
      : path_(std::move(path)), file_(::open(path_.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644)) {
    if (file_ < 0) fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
  }
  ~ScratchFile() {
    ::close(file_);
    ::unlink(path_.c_str());
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  void write(const std::vector<char>& block) const {
    for (std::size_t done = 0; done < block.size();) {
      const auto count = ::write(file_, block.data() + done, block.size() - done);
      if (count < 0 && errno != EINTR) fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
      done += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    }
  }
  void sync() const {
    if (::fsync(file_) != 0) fail("{}: fsync: {}", path_.string(), std::strerror(errno));
  }

 private:
  std::filesystem::path path_;
  int file_;
};

double free_bytes(const std::filesystem::path& folder) {
  struct statvfs system {};
  if (statvfs(folder.c_str(), &system) != 0) fail("{}: {}", folder.string(), std::strerror(errno));
  return static_cast<double>(system.f_bavail) * static_cast<double>(system.f_frsize);
}

std::filesystem::path sign_of(const std::filesystem::path& meeting_place, int rank) {
  return meeting_place / fmt::format("rank-{}", rank);
}

}  // namespace

std::filesystem::path existing_part(const std::filesystem::path& directory) {
  auto part = std::filesystem::absolute(directory).lexically_normal();
  std::error_code ignored;
  while (!std::filesystem::is_directory(part, ignored) && part.has_relative_path()) part = part.parent_path();
  return part;
}

void within(std::chrono::duration<double> patience, const std::filesystem::path& path, std::function<void()> work) {
  auto task = std::make_shared<std::packaged_task<void()>>(std::move(work));
  std::future<void> done = task->get_future();
  std::thread([task] { (*task)(); }).detach();
  if (done.wait_for(patience) != std::future_status::ready)
    fail("{}: the file system does not answer in {:.0f} s", path.string(), patience.count());
  done.get();
}

Space space_of(const std::filesystem::path& directory) {
  const auto folder = existing_part(directory);
  Space space{.free_bytes = free_bytes(folder)};
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() != ".partial") continue;
    for (const auto& file : std::filesystem::directory_iterator(entry.path(), error))
      if (const auto bytes = file.file_size(error); !error) space.free_bytes += static_cast<double>(bytes);
  }
  space.checkpoints = static_cast<int>(list_checkpoints(directory).size());
  return space;
}

double write_speed(const std::filesystem::path& file) {
  const std::vector<char> block(1 << 20, 'x');
  const ScratchFile scratch(file);
  const double most = free_bytes(file.parent_path()) / 4 / static_cast<double>(block.size());
  if (most < 1) return 0;
  scratch.write(block);  // the first makes the file's place
  scratch.sync();
  const auto begin = Clock::now();
  double speed = 0;
  // Ever more between two fsyncs: the last figure is the least about their own time.
  for (int blocks = 1; blocks <= std::min(64.0, most / 2) && Clock::now() - begin < std::chrono::milliseconds(250);
       blocks *= 2) {
    const auto start = Clock::now();
    for (int i = 0; i < blocks; ++i) scratch.write(block);
    scratch.sync();
    speed = blocks * static_cast<double>(block.size()) / std::chrono::duration<double>(Clock::now() - start).count();
  }
  return speed;
}

MeetingPlace::MeetingPlace(const std::filesystem::path& directory) {
  std::string name = (existing_part(directory) / ".trireme-doctor-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr)
    fail("checkpoint.directory={}: nothing can be written in {}: {}", directory.string(),
         existing_part(directory).string(), std::strerror(errno));
  path_ = name;
}

MeetingPlace::~MeetingPlace() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void leave_sign(const std::filesystem::path& meeting_place, int rank) {
  const auto sign = sign_of(meeting_place, rank);
  const int file = ::open(sign.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (file < 0) fail("{}: cannot be written: {}", sign.string(), std::strerror(errno));
  ::fsync(file);
  ::close(file);
}

bool sees_sign(const std::filesystem::path& meeting_place, int rank, std::chrono::duration<double> patience) {
  const auto end = Clock::now() + patience;
  std::error_code ignored;
  while (!std::filesystem::exists(sign_of(meeting_place, rank), ignored)) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace trireme
