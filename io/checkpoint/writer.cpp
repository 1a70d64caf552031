// Saving, step by step, so that no rank goes on where another failed.
#include <numeric>

#include "io/checkpoint/agreement.h"
#include "io/checkpoint/file_operations.h"
#include "io/checkpoint/format.h"
#include "kernels/error.h"

namespace trireme {

using namespace checkpoint;

namespace {

/// A tensor that no rank wrote would be a hole that no shard tells of.
void check_all_are_there(const std::filesystem::path& folder, const std::vector<CheckpointItem>& items) {
  const hdf5::Handle model = hdf5::open_file(folder / model_file);
  for (const CheckpointItem& item : items) {
    if (!hdf5::exists(model, item.path)) fail("{}: no rank holds replica 0 of it", item.path);
  }
}

/// Gives the finished folder its name. At no moment is there less than one complete checkpoint of the step where
/// there was one before; only a file system that cannot exchange two names has it under another name for a moment.
void publish(const std::filesystem::path& partial, const std::filesystem::path& folder) {
  files::sync(partial);
  const std::filesystem::path replaced = replaced_path(folder);
  const bool replaces = std::filesystem::exists(folder);
  const bool exchanged = replaces && files::exchange(partial, folder);
  if (replaces && !exchanged) {
    files::remove(replaced);
    files::rename(folder, replaced);
  }
  if (!exchanged) files::rename(partial, folder);
  files::sync(folder.parent_path());
  if (replaces) files::remove(exchanged ? partial : replaced);
}

}  // namespace

std::filesystem::path save_checkpoint(const std::filesystem::path& directory, const CheckpointInfo& info,
                                      const std::vector<CheckpointItem>& items, Communicator& world) {
  std::filesystem::path folder = checkpoint_path(directory, info.step);
  const std::filesystem::path partial = partial_path(folder);
  const bool first = world.rank() == 0;
  std::vector<CheckpointItem> mine;
  for (const CheckpointItem& item : items) {
    if (item.shard.replica == 0 && item.shard.extent.elements() > 0) mine.push_back(item);
  }
  const std::vector<int> writers = gather(world, mine.empty() ? 0 : 1);
  const int shard = std::accumulate(writers.begin(), writers.begin() + world.rank(), 0);
  const int shards = std::accumulate(writers.begin(), writers.end(), 0);

  together(world, [&] {
    if (!first) return;
    files::remove(partial);
    files::make_directory(partial);
  });
  together(world, [&] {
    if (!mine.empty()) write_shard(partial / shard_file(shard), info.step, mine);
  });
  together(world, [&] {
    if (first) write_model(partial, info, shards, read_shards(partial, shards));
  });
  together(world, [&] { check_all_are_there(partial, items); });
  together(world, [&] {
    if (first) publish(partial, folder);
  });
  return folder;
}

}  // namespace trireme
