// Saving while training goes on: a thread of each rank writes what the rank holds, and the ranks agree at the end of
// every step how far they have all come. MPI is called from the callers' thread only.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint.h"

namespace trireme {

/// Which complete checkpoints stay when a new one has come.
struct Retention {
  int newest = 0;                                  ///< 0: all
  std::int64_t every = 0;                          ///< those of steps that this divides stay for ever; 0: none
  std::function<std::int64_t()> in_use = nullptr;  ///< a step that stays for now; -1: none. Any thread asks
};

struct SavedCheckpoint {
  std::filesystem::path folder;
  double seconds = 0;   ///< from begin until it was complete and on disk
  std::string trouble;  ///< on rank 0: why older checkpoints could not be removed
};

/// One save at a time. A save goes through stages (folder; shards; the model file; one rename); in each, every rank's
/// thread does its part, and the next begins when all are idle.
class CheckpointSaver {
 public:
  /// Without a retention nothing is ever removed. `world` must outlive the saver.
  CheckpointSaver(std::filesystem::path directory, const std::optional<Retention>& retention, Communicator& world);
  /// Waits for this rank's thread. What is not complete stays a .partial folder.
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// Collective, while no save is under way. Does not wait for the disk. The items' data must not change until the save
  /// is over. `before_publishing` runs on rank 0's thread before the checkpoint appears.
  void begin(const CheckpointInfo& info, std::vector<CheckpointItem> items,
             std::function<void()> before_publishing = nullptr);

  /// The same on all ranks.
  bool under_way() const;
  /// Step of the last save begun; -1 before the first.
  std::int64_t step() const;
  /// Whether this rank's thread is at work: what advance() must know of all ranks.
  bool busy() const;
  /// Collective. Goes on to the next stage if a save is under way and no rank's thread was busy, in what all ranks
  /// tell each other. Returns the checkpoint when it is complete. When the save failed on any rank, throws on all with
  /// that rank's message; nothing is then under way, and what was written is removed.
  std::optional<SavedCheckpoint> advance(bool any_busy);
  /// Collective, while a save is under way. Waits for its end.
  SavedCheckpoint finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
