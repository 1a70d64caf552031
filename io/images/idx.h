// IDX files, in which MNIST and its kin are kept: big-endian sizes, then bytes. Plain or gzip (zlib).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace trireme {

/// Reads the items along the first axis of an IDX file of unsigned bytes, one after the other.
class IdxFile {
 public:
  /// Refuses what is missing, no IDX file, or not of bytes.
  explicit IdxFile(const std::filesystem::path& path);
  ~IdxFile();
  /// Sizes of all axes; the first is the number of items.
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t item_bytes() const;
  /// The next item. Refuses a file that ends before.
  void read(std::span<std::byte> item);

 private:
  struct Close {
    void operator()(void* file) const;
  };
  std::filesystem::path path_;
  std::unique_ptr<void, Close> file_;
  std::vector<std::int64_t> shape_;
};

}  // namespace trireme
