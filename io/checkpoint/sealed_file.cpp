#include "io/checkpoint/sealed_file.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/format.h"
#include "kernels/error.h"

namespace trireme::checkpoint {
namespace {

constexpr std::int64_t seal_bytes = 512;
constexpr std::size_t piece_bytes = std::size_t{8} << 20;
constexpr std::string_view hdf5_signature = "\x89HDF\r\n\x1a\n";

int make_memory_file() {
  const int file = memfd_create("trireme-checkpoint", MFD_CLOEXEC);
  if (file < 0) fail("a file in memory cannot be made: {}", std::strerror(errno));
  return file;
}

std::string path_of(const files::Descriptor& file) { return fmt::format("/proc/self/fd/{}", file.get()); }

/// Names the file that a failure in memory is about.
template <typename Work>
auto for_file(const std::filesystem::path& path, Work work) {
  try {
    return work();
  } catch (const Error& error) {
    throw Error(fmt::format("{}: cannot be laid out: {}", path.string(), error.what()), error.status(), error.where());
  }
}

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw DamagedCheckpoint(fmt::format("{}: {}", path.string(), what));
}

}  // namespace

std::string make_seal(std::int64_t file_bytes, std::string_view structure) {
  std::string line = fmt::format("trireme-seal bytes={} structure={} ", file_bytes, seal_bytes + std::ssize(structure));
  Checksum sum;
  sum.add(line);
  sum.add(structure);
  line += fmt::format("xxh64={:016x}\n", sum.value());
  line.resize(seal_bytes, '\0');
  return line;
}

SealedFile::SealedFile(const std::filesystem::path& path)
    : path_(path),
      output_(path),
      memory_(make_memory_file()),
      layout_(for_file(path, [&] { return hdf5::create_in_memory(memory_.get(), seal_bytes); })) {}

std::vector<std::int64_t> SealedFile::place(const std::vector<hdf5::Handle>& datasets) {
  return for_file(path_, [&] {
    // Before it is flushed, the library may yet move parts of the structure behind the data.
    hdf5::flush(layout_);
    std::vector<std::int64_t> places;
    for (const hdf5::Handle& dataset : datasets) {
      places.push_back(hdf5::place(dataset));
      if (structure_end_ == 0) structure_end_ = end_ = places.back();
      if (places.back() < end_) fail("HDF5 placed data sets in disorder");
      end_ = places.back() + hdf5::shape_of(dataset).elements() * static_cast<std::int64_t>(sizeof(float));
    }
    return places;
  });
}

std::uint64_t SealedFile::write(std::int64_t place, std::string_view bytes) {
  Checksum sum;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece_bytes, bytes.size()))) {
    const std::string_view piece = bytes.substr(0, piece_bytes);
    sum.add(piece);
    output_.write(place, piece);
    place += std::ssize(piece);
  }
  return sum.value();
}

void SealedFile::finish() {
  std::string bytes = for_file(path_, [&] {
    layout_.close();
    const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path_of(memory_)));
    if (end_ == 0) structure_end_ = end_ = size;
    if (size != end_) fail("HDF5 wrote {} bytes, the last data set ends at {}", size, end_);
    return files::read(path_of(memory_), 0, structure_end_);
  });
  const std::string seal = make_seal(end_, std::string_view(bytes).substr(seal_bytes));
  bytes.replace(0, seal.size(), seal);
  output_.write(0, bytes);
  output_.finish();
}

hdf5::Handle open_sealed(const std::filesystem::path& path) {
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  if (type == std::filesystem::file_type::not_found) damaged(path, "no such file");
  if (type != std::filesystem::file_type::regular) damaged(path, "not a file");
  const std::string seal = files::read(path, 0, seal_bytes);
  if (!seal.starts_with(hdf5_signature)) {
    const auto found = static_cast<std::int64_t>(std::filesystem::file_size(path));
    long long bytes = 0;
    long long end = 0;
    if (std::sscanf(seal.c_str(), "trireme-seal bytes=%lld structure=%lld", &bytes, &end) != 2) {
      damaged(path, "not an HDF5 file of a checkpoint, or damaged at its beginning");
    }
    if (found < bytes) damaged(path, fmt::format("truncated: it has {} of its {} bytes", found, bytes));
    if (found != bytes || end < seal_bytes || end > bytes ||
        make_seal(bytes, files::read(path, seal_bytes, end - seal_bytes)) != seal) {
      damaged(path, "damaged: its structure does not fit its seal");
    }
  }
  return or_damaged([&] { return hdf5::open_file(path); });
}

}  // namespace trireme::checkpoint
