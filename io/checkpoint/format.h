// What the writer and the reader of checkpoints share. The format itself is told in checkpoint.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint.h"
#include "io/hdf5.h"

namespace trireme::checkpoint {

inline constexpr int version = 1;
inline constexpr const char* shard_format = "trireme-shard";
inline constexpr const char* model_format = "trireme-checkpoint";
inline constexpr const char* model_file = "model.h5";

std::string shard_file(int number);                                       ///< "shard-00000.h5"
std::filesystem::path partial_path(const std::filesystem::path& folder);  ///< where `folder` is written
std::filesystem::path replaced_path(const std::filesystem::path& folder);

/// Refuses a file that is not of this format and version.
void check_format(const hdf5::Handle& file, const std::string& format);

/// xxHash64 of a text, seed 0.
std::uint64_t checksum(const std::string& bytes);

/// A box of a tensor.
struct Box {
  hdf5::Offset offset{};
  Shape extent;
};

/// The box that one shard file holds.
struct Piece {
  std::string file;
  Box box;
};

/// A tensor and the shards that hold it.
struct StoredTensor {
  Shape global;
  std::vector<Piece> pieces;
};
using Catalogue = std::map<std::string, StoredTensor>;  ///< by path

/// Fails, naming the tensor, unless the pieces fill it without a hole or an overlap.
void check_tiling(const std::string& path, const StoredTensor& tensor);

bool overlap(const Box& one, const Box& other);

/// Copies what two boxes of one tensor have in common, both row-major in memory. Returns the number of elements.
std::int64_t copy_overlap(const Box& from_box, const float* from, const Box& to_box, float* to);

/// Reads what the shard files of a folder say that they hold. Fails when they contradict each other.
Catalogue read_shards(const std::filesystem::path& folder, int shards);
/// Writes model.h5.
void write_model(const std::filesystem::path& folder, const CheckpointInfo& info, int shards,
                 const Catalogue& catalogue);
/// Writes one shard file.
void write_shard(const std::filesystem::path& file, std::int64_t step, const std::vector<CheckpointItem>& items);

}  // namespace trireme::checkpoint
