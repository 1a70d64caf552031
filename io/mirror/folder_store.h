// A mirror in a folder: another file system, or an object store that is mounted.
#pragma once

#include <filesystem>

#include "io/mirror/object_store.h"

namespace trireme::mirror {

/// An object is a file, which gets its name when it is whole and on disk.
class FolderStore : public ObjectStore {
 public:
  explicit FolderStore(std::filesystem::path root) : root_(std::move(root)) {}

  std::string describe(const std::string& name) const override { return (root_ / name).string(); }
  std::vector<StoredEntry> list(const std::string& folder) override;
  std::string read(const std::string& name, std::int64_t offset, std::int64_t count) override;
  void write(const std::string& name, std::string_view bytes) override;
  std::int64_t part_bytes(std::int64_t file_bytes) const override;
  std::unique_ptr<Upload> upload(const std::string& name, std::int64_t file_bytes) override;
  void remove(const std::string& name) override;
  void remove_folder(const std::string& folder) override;

 private:
  std::filesystem::path root_;
};

}  // namespace trireme::mirror
