// Checkpoints: saved by all ranks, loaded on any layout, read by any HDF5 tool. Format (version 1):
//
//   DIRECTORY/step-00000100/shard-00000.h5   one per rank that holds something to write, numbered without gaps
//     /                     attributes: format = "trireme-shard", version (int32), step (int64)
//     /parameters/NAME      f32 [extent], one box of the tensor; attributes: global, offset (int64 [axes]),
//                           xxh64 (uint64, of the data's bytes, seed 0)
//     /optimizer/first_moment/NAME, /optimizer/second_moment/NAME   likewise
//   DIRECTORY/step-00000100/model.h5
//     /                     attributes: format = "trireme-checkpoint", version (int32), step, samples (int64), seed
//                           (uint64), configuration (INI), shards (int32, number of shard files), complete (int32, 1)
//     /tokenizer            attributes: kind, vocabulary (int32), end_of_text (int32)
//     /tokenizer/model      uint8 [bytes]; attribute xxh64
//     /parameters/NAME ...  virtual datasets over the shards: every tensor whole, under its global name. Each mapping
//                           names a shard file, relative to the folder, and the box that its data set of the same
//                           path fills. What a missing shard would hold reads as NaN.
//
// Each file begins with a seal, told of in sealed_file.h: a checksum of all of it but the tensors' data, which HDF5's
// tools do not see.
//
// All is written into step-00000100.partial, flushed to disk, and renamed once. A folder of that name which existed
// already changes places with the new one; where the file system cannot do this in one operation, it waits as
// step-00000100.replaced until the new one has its name. One that was found to be damaged is set aside as
// step-00000100.damaged.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "comm/shard_spec.h"
#include "kernels/error.h"

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
/// checkpoint is complete and on disk; a checkpoint of the same step is replaced. Fails when the boxes do not fill
/// every tensor exactly. On failure every rank throws, with the first failing rank's message, and at most a .partial
/// folder is left. CheckpointSaver (saver.h) does the same while training goes on.
std::filesystem::path save_checkpoint(const std::filesystem::path& directory, const CheckpointInfo& info,
                                      const std::vector<CheckpointItem>& items, Communicator& world);

/// For the start of a program, on one rank: makes the directory, proves that it can be written, and gives its name
/// back to a checkpoint whose replacement was interrupted. Refuses, naming checkpoint.directory.
void check_checkpoint_directory(const std::filesystem::path& directory);

/// Of complete checkpoints' steps, ascending, those that retention removes.
std::vector<std::int64_t> steps_to_prune(std::vector<std::int64_t> steps, int keep, std::int64_t keep_every);

/// Removes all but the newest `keep` checkpoints (0: keeps all) and those whose step `keep_every` divides (0: none),
/// and left-over .partial folders. Folders without a model.h5 do not count, and stay; so do steps after `last`, which
/// another run left that this one goes back behind, and the step `in_use`. Call on one rank, while no checkpoint is
/// being saved.
void prune_checkpoints(const std::filesystem::path& directory, int keep, std::int64_t keep_every = 0,
                       std::int64_t last = std::numeric_limits<std::int64_t>::max(), std::int64_t in_use = -1);

/// Renames a checkpoint to NAME.damaged, so that it is not listed any more. An older one of that name is removed.
void set_aside(const std::filesystem::path& folder);

/// Steps that have a folder, ascending: whether what is in it is whole is for verify_checkpoint to say. An absent
/// directory has none.
std::vector<std::int64_t> list_checkpoints(const std::filesystem::path& directory);
/// Whether a checkpoint was set aside there.
bool has_damaged(const std::filesystem::path& directory);
/// `path` itself where it is a checkpoint, or the newest one in it. Refuses where there is neither, naming `key`.
std::filesystem::path newest_checkpoint(const std::filesystem::path& path, std::string_view key);
std::filesystem::path checkpoint_path(const std::filesystem::path& directory, std::int64_t step);

/// A checkpoint is damaged or incomplete: another may be good. Status 2.
class DamagedCheckpoint : public Error {
 public:
  explicit DamagedCheckpoint(const std::string& message, std::source_location where = std::source_location::current())
      : Error(message, ExitStatus::invalid_input, where) {}
};

/// Reads and tests model.h5, and all that the shards of the numbers part, part + parts, ... hold: ranks share the work.
/// Throws DamagedCheckpoint, naming file and object.
void verify_checkpoint(const std::filesystem::path& folder, int part = 0, int parts = 1);

/// What a tensor of a checkpoint is.
struct CheckpointEntry {
  std::string path;
  Shape shape;
};

/// Reads a checkpoint. Each rank opens it for itself and reads what it needs, whatever layout wrote it.
class CheckpointReader {
 public:
  /// Throws DamagedCheckpoint for what is missing or not a checkpoint, refuses another version, naming the path.
  explicit CheckpointReader(const std::filesystem::path& folder);
  ~CheckpointReader();
  const CheckpointInfo& info() const;
  /// In the order of their paths.
  const std::vector<CheckpointEntry>& entries() const;
  int shards() const;
  /// Fills item.data. Refuses an unknown path or another global shape; throws DamagedCheckpoint for what is missing or
  /// fails its checksum, for which a shard's data set is read whole where the item wants any of it.
  void read(const CheckpointItem& item);
  /// See verify_checkpoint.
  void verify(int part, int parts);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
