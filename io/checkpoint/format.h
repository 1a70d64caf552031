// What the writer and the reader of checkpoints share. The format itself is told in checkpoint.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint/checkpoint.h"
#include "io/hdf5.h"

struct XXH64_state_s;

namespace trireme::checkpoint {

inline constexpr int version = 1;
inline constexpr const char* shard_format = "trireme-shard";
inline constexpr const char* model_format = "trireme-checkpoint";
inline constexpr const char* model_file = "model.h5";

std::string shard_file(int number);                                       ///< "shard-00000.h5"
std::filesystem::path partial_path(const std::filesystem::path& folder);  ///< where `folder` is written
std::filesystem::path replaced_path(const std::filesystem::path& folder);
std::filesystem::path damaged_path(const std::filesystem::path& folder);

/// Throws DamagedCheckpoint for a file of another format; refuses another version.
void check_format(const hdf5::Handle& file, const std::string& format);

/// xxHash64, seed 0, of all bytes that were added.
class Checksum {
 public:
  Checksum();
  void add(std::string_view bytes);
  std::uint64_t value() const;

 private:
  std::unique_ptr<XXH64_state_s, int (*)(XXH64_state_s*)> state_;
};
std::uint64_t checksum(std::string_view bytes);

/// Values as the bytes that a file holds.
inline std::string_view bytes_of(const float* values, std::int64_t count) {
  return {reinterpret_cast<const char*>(values), static_cast<std::size_t>(count) * sizeof(float)};
}

/// The result of `work`. What it throws means that the checkpoint is damaged.
template <typename Work>
auto or_damaged(Work work) {
  try {
    return work();
  } catch (const DamagedCheckpoint&) {
    throw;
  } catch (const Error& error) {
    throw DamagedCheckpoint(error.what(), error.where());
  }
}

/// A box of a tensor.
struct Box {
  hdf5::Offset offset{};
  Shape extent;
  bool operator==(const Box&) const = default;
};

/// The box that one shard file holds.
struct Piece {
  std::string file;
  Box box;
  bool operator==(const Piece&) const = default;
};

/// A tensor and the shards that hold it.
struct StoredTensor {
  Shape global;
  std::vector<Piece> pieces;
  bool operator==(const StoredTensor&) const = default;
};
using Catalogue = std::map<std::string, StoredTensor>;  ///< by path

/// Fails, naming the tensor, unless the pieces fill it without a hole or an overlap.
void check_tiling(const std::string& path, const StoredTensor& tensor);

bool overlap(const Box& one, const Box& other);

/// Copies what two boxes of one tensor have in common, both row-major in memory. Returns the number of elements.
std::int64_t copy_overlap(const Box& from_box, const float* from, const Box& to_box, float* to);

/// Adds what one shard, called `name`, says that it holds. Fails when it contradicts what is there.
void add_shard(const hdf5::Handle& file, const std::string& name, Catalogue& catalogue);
/// Reads what the shard files of a folder say that they hold. Fails when they contradict each other.
Catalogue read_shards(const std::filesystem::path& folder, int shards);
/// Writes model.h5.
void write_model(const std::filesystem::path& folder, const CheckpointInfo& info, int shards,
                 const Catalogue& catalogue);
/// Writes one shard file.
void write_shard(const std::filesystem::path& file, std::int64_t step, const std::vector<CheckpointItem>& items);

}  // namespace trireme::checkpoint
