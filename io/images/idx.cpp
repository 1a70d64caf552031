#include "io/images/idx.h"

#include <zlib.h>

#include <array>

#include "kernels/error.h"

namespace trireme {
namespace {

constexpr unsigned char unsigned_bytes = 8;  ///< IDX's number for the type
constexpr std::int64_t most_bytes_an_item = std::int64_t{1} << 28;

}  // namespace

void IdxFile::Close::operator()(void* file) const { gzclose(static_cast<gzFile>(file)); }

IdxFile::IdxFile(const std::filesystem::path& path) : path_(path) {
  file_.reset(gzopen(path.c_str(), "rb"));
  if (!file_) refuse("{}: found no file that can be read, expected an IDX file", path.string());
  std::array<std::byte, 4> word{};
  read(word);
  const auto axes = static_cast<unsigned>(word[3]);
  if (word[0] != std::byte{0} || word[1] != std::byte{0} || axes < 1 || axes > 4)
    refuse("{}: not an IDX file (it begins with {:02x} {:02x} {:02x} {:02x})", path.string(),
           static_cast<unsigned>(word[0]), static_cast<unsigned>(word[1]), static_cast<unsigned>(word[2]), axes);
  if (word[2] != std::byte{unsigned_bytes})
    refuse("{}: IDX type {:#04x}, expected unsigned bytes (0x08)", path.string(), static_cast<unsigned>(word[2]));
  for (unsigned axis = 0; axis < axes; ++axis) {
    read(word);
    std::int64_t extent = 0;
    for (const std::byte digit : word) extent = extent << 8 | static_cast<std::int64_t>(digit);
    shape_.push_back(extent);
  }
  std::int64_t bytes = 1;
  for (std::size_t axis = 1; axis < shape_.size(); ++axis) {
    if (shape_[axis] < 1 || shape_[axis] > most_bytes_an_item / bytes)
      refuse("{}: axis {} has {} places, expected items of 1 to {} bytes", path.string(), axis, shape_[axis],
             most_bytes_an_item);
    bytes *= shape_[axis];
  }
}

IdxFile::~IdxFile() = default;

std::int64_t IdxFile::item_bytes() const {
  std::int64_t bytes = 1;
  for (std::size_t axis = 1; axis < shape_.size(); ++axis) bytes *= shape_[axis];
  return bytes;
}

void IdxFile::read(std::span<std::byte> item) {
  const auto wanted = static_cast<unsigned>(item.size());
  const int found = gzread(static_cast<gzFile>(file_.get()), item.data(), wanted);
  if (found < 0 || static_cast<unsigned>(found) != wanted)
    refuse("{}: ends early, or its compressed data is damaged", path_.string());
}

}  // namespace trireme
