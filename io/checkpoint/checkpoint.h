// Checkpoints: saved by all ranks, loaded on any layout, read by any HDF5 tool. Format (version 1):
//
//   DIRECTORY/step-00000100/shard-00000.h5   one per rank that holds something to write
//     /                     attributes: format = "trireme-shard", version, step
//     /parameters/NAME      f32 [extent], this rank's box; attributes: global, offset (int64 [rank]),
//                           xxh64 (uint64, of the data's bytes)
//     /optimizer/first_moment/NAME, /optimizer/second_moment/NAME   likewise
//   DIRECTORY/step-00000100/model.h5
//     /                     attributes: format = "trireme-checkpoint", version, step, samples, seed, configuration
//     (INI)
//                           shards (number of shard files), complete = 1
//     /parameters/NAME ...  virtual datasets over the shards: every tensor whole, under its global name
//
// All is written into step-00000100.partial, flushed to disk, and renamed once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/shard_spec.h"

namespace trireme {

struct CheckpointInfo {
  std::int64_t step = 0;
  std::int64_t samples = 0;  ///< consumed so far: the whole state of the data
  std::uint64_t seed = 0;
  std::string configuration;                    ///< the run's INI text
  std::string tokenizer_kind, tokenizer_model;  ///< so that `sample` needs nothing else
  int tokenizer_vocabulary = 0, tokenizer_end_of_text = 0;
};

/// One box of one tensor: what to write, or where to read to. f32, in host memory.
struct CheckpointItem {
  std::string path;  ///< "parameters/blocks.0.attention.query.weight"
  ShardSpec shard;
  float* data = nullptr;
};

/// Saves collectively: items with shard.replica == 0 are written by this rank. Returns the folder's path when the
/// checkpoint is complete and on disk. On failure every rank throws, and nothing but a .partial folder is left.
std::filesystem::path save_checkpoint(const std::filesystem::path& directory, const CheckpointInfo& info,
                                      const std::vector<CheckpointItem>& items, Communicator& world);

/// Removes all but the newest `keep` checkpoints, and left-over .partial folders. Call on one rank.
void prune_checkpoints(const std::filesystem::path& directory, int keep);

/// Steps that have a complete checkpoint, ascending. An absent directory has none.
std::vector<std::int64_t> list_checkpoints(const std::filesystem::path& directory);
std::filesystem::path checkpoint_path(const std::filesystem::path& directory, std::int64_t step);

/// What a tensor of a checkpoint is.
struct CheckpointEntry {
  std::string path;
  Shape shape;
};

/// Reads a checkpoint. Each rank opens it for itself and reads what it needs, whatever layout wrote it.
class CheckpointReader {
 public:
  /// Refuses what is missing, not a checkpoint, or of another version, naming the path.
  explicit CheckpointReader(const std::filesystem::path& folder);
  ~CheckpointReader();
  const CheckpointInfo& info() const;
  const std::vector<CheckpointEntry>& entries() const;
  int shards() const;
  /// Fills item.data. Refuses an unknown path, another global shape, or data that fail their checksum.
  void read(const CheckpointItem& item);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
