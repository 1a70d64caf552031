// The checkpoints of a training run: taken in the background, tried again when they fail, complete at the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "app/metrics.h"
#include "app/progress.h"
#include "app/session.h"
#include "io/checkpoint/saver.h"
#include "io/mirror/background.h"

namespace trireme {

/// What saves have come to in this process.
struct SaveTally {
  std::int64_t saved = 0, failed = 0;
  double seconds = 0;            ///< from the beginning of the newest one until it was complete
  std::filesystem::path folder;  ///< of the newest one
};

/// Calls are collective where not said otherwise. A save that fails does not end the run: it is reported, and tried
/// again after a while with what the run has come to by then.
class Saves {
 public:
  /// `last_saved`: step of the checkpoint that the run began with; 0: none. `log` and `progress` are rank 0's, null
  /// elsewhere; they and the session outlive this. Takes the memory for the copy.
  Saves(Session& session, std::int64_t last_saved, MetricsLog* log, Progress* progress);

  /// Bytes of the copy in memory on this rank; 0 where training waits for the disk instead. Not collective.
  std::int64_t copy_bytes() const { return copy_bytes_; }
  /// Copies the state after `step` and begins to write it; first waits for the save under way, if any.
  void begin(std::int64_t step);
  /// Not collective: what this rank votes at the end of a step, for advance() and begin().
  bool busy() const { return saver_.busy(); }
  bool under_way() const { return saver_.under_way(); }
  bool wants_retry() const;
  /// Goes on with the save under way; `any_busy` is what the ranks told each other.
  void advance(bool any_busy);
  /// Returns when the state after `step`, the present one, is saved. Fails after a few attempts.
  void finish(std::int64_t step);

  /// Waits until the mirror, if any, has what the directory has, for `limit` seconds at most and not while it fails.
  void finish_mirror(double limit);

  /// Seconds that training has waited since the last call. Not collective.
  double take_stall() { return std::exchange(stall_, 0.0); }
  /// Seconds to allow for a save: the longest so far, or a guess. Not collective.
  double longest() const { return longest_; }
  /// What saves have come to. Not collective.
  const SaveTally& tally() const { return tally_; }

 private:
  using Clock = std::chrono::steady_clock;

  /// Runs a part of a save, and counts its time as a stall. Says and remembers how the save ends.
  void attempt(const std::function<std::optional<SavedCheckpoint>()>& part);
  void wait_for_the_save_under_way();
  void complete(const SavedCheckpoint& saved);
  void note(const std::string& text) const;
  void tell_of_mirror();

  Session& session_;
  const CheckpointOptions& options_;
  MetricsLog* log_;
  Progress* progress_;
  std::unique_ptr<BackgroundMirror> mirror_;  ///< on rank 0
  CheckpointSaver saver_;
  bool copies_;  ///< the state is copied first
  std::int64_t copy_bytes_ = 0;
  std::int64_t last_saved_;
  int failures_ = 0;  ///< since the last success
  SaveTally tally_;
  std::string failure_;
  Clock::time_point retry_at_;
  double stall_ = 0, stall_of_save_ = 0, longest_ = 0;
};

}  // namespace trireme
