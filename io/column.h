// What writers of data sets have in common: columns that grow, and files that appear when they are complete.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/hdf5.h"

namespace trireme {

/// A data set of one axis that grows. What never fills a chunk is stored contiguously.
template <typename T>
class Column {
 public:
  explicit Column(std::string path) : path_(std::move(path)) {}

  void push(const hdf5::Handle& file, T value) { push(file, std::span(&value, 1)); }
  void push(const hdf5::Handle& file, std::span<const T> values) {
    while (!values.empty()) {
      const auto part = values.first(std::min(values.size(), chunk - pending_.size()));
      pending_.insert(pending_.end(), part.begin(), part.end());
      if (pending_.size() == chunk) write(file, true);
      values = values.subspan(part.size());
    }
  }

  void finish(const hdf5::Handle& file) {
    if (!created_ || !pending_.empty()) write(file, false);
    dataset_ = {};
  }

  std::int64_t size() const { return written_ + static_cast<std::int64_t>(pending_.size()); }

 private:
  static constexpr std::size_t chunk = (std::size_t{2} << 20) / sizeof(T);  // twice HDF5's chunk cache

  void write(const hdf5::Handle& file, bool growing) {
    const auto count = static_cast<std::int64_t>(pending_.size());
    if (created_) {
      hdf5::resize(dataset_, {written_ + count});
    } else {
      dataset_ = hdf5::create_dataset<T>(file, path_, {count}, growing ? static_cast<std::int64_t>(chunk) : 0);
      created_ = true;
    }
    hdf5::write(dataset_, {written_}, {count}, pending_.data());
    written_ += count;
    pending_.clear();
  }

  std::string path_;
  hdf5::Handle dataset_;
  bool created_ = false;
  std::vector<T> pending_;
  std::int64_t written_ = 0;
};

/// An HDF5 file that is FILE.partial until `commit`, and removed when it goes without one.
class PartialFile {
 public:
  explicit PartialFile(const std::filesystem::path& path);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  const hdf5::Handle& handle() const { return file_; }
  /// Returns when the file is whole and on disk under its name.
  void commit();

 private:
  std::filesystem::path path_;
  hdf5::Handle file_;
  bool committed_ = false;
};

}  // namespace trireme
