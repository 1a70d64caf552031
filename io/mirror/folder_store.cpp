#include "io/mirror/folder_store.h"

#include <algorithm>
#include <mutex>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/file_operations.h"
#include "kernels/error.h"

namespace trireme::mirror {
namespace {

namespace fs = std::filesystem;

fs::path partial_of(const fs::path& path) { return path.string() + ".partial"; }

class FileUpload : public Upload {
 public:
  explicit FileUpload(fs::path path) : path_(std::move(path)), file_(partial_of(path_)) {}

  void part(int /*number*/, std::int64_t offset, std::string_view bytes, const std::string& /*sha256*/) override {
    const std::lock_guard lock(mutex_);
    file_.write(offset, bytes);
  }
  void finish() override {
    file_.finish();
    files::rename(partial_of(path_), path_);
    files::sync(path_.parent_path());
  }

 private:
  fs::path path_;
  std::mutex mutex_;
  files::Output file_;
};

}  // namespace

std::vector<StoredEntry> FolderStore::list(const std::string& folder) {
  std::vector<StoredEntry> entries;
  std::error_code error;
  fs::directory_iterator at(root_ / folder, error);
  if (error == std::errc::no_such_file_or_directory) return entries;
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const bool is_folder = at->is_directory(error);
    const auto bytes = is_folder || error ? 0 : at->file_size(error);
    entries.push_back({at->path().filename().string(), static_cast<std::int64_t>(bytes), is_folder});
    if (error) break;
  }
  if (error) fail("{}: cannot be listed: {}", describe(folder), error.message());
  return entries;
}

std::string FolderStore::read(const std::string& name, std::int64_t offset, std::int64_t count) {
  if (!fs::exists(root_ / name)) throw DamagedCheckpoint(fmt::format("{}: there is no such object", describe(name)));
  const auto bytes = static_cast<std::int64_t>(fs::file_size(root_ / name));
  return files::read(root_ / name, offset, std::clamp<std::int64_t>(bytes - offset, 0, count));
}

void FolderStore::write(const std::string& name, std::string_view bytes) {
  const auto whole = upload(name, std::ssize(bytes));
  whole->part(0, 0, bytes, {});
  whole->finish();
}

std::int64_t FolderStore::part_bytes(std::int64_t /*file_bytes*/) const { return std::int64_t{8} << 20; }

std::unique_ptr<Upload> FolderStore::upload(const std::string& name, std::int64_t /*file_bytes*/) {
  const fs::path path = root_ / name;
  files::make_directory(path.parent_path());
  return std::make_unique<FileUpload>(path);
}

void FolderStore::remove(const std::string& name) { files::remove(root_ / name); }

void FolderStore::remove_folder(const std::string& folder) { files::remove(root_ / folder); }

}  // namespace trireme::mirror
