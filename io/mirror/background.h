// Mirroring while training goes on.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint/saver.h"

namespace trireme {

/// A thread that brings complete checkpoints to the mirror, the newest first, and lets the mirror keep what the
/// directory keeps. What fails is told, and tried again for ever. All calls are for one thread.
class BackgroundMirror {
 public:
  /// What is to be told to people.
  struct News {
    bool trouble = false;
    std::string text;
  };

  /// See mirror::make_object_store for what is refused.
  BackgroundMirror(const std::string& place, std::filesystem::path directory, Retention retention);
  /// Gives up what is under way.
  ~BackgroundMirror();
  BackgroundMirror(const BackgroundMirror&) = delete;
  BackgroundMirror& operator=(const BackgroundMirror&) = delete;

  /// There may be new checkpoints up to this step.
  void wake(std::int64_t step);
  /// The step being copied, whose folder should stay; -1: none. For any thread.
  std::int64_t in_use() const;
  std::vector<News> take_news();
  /// Waits until all is mirrored; false after `limit` or when it failed `failures` times in a row. `still_alive` is
  /// called now and then with the megabytes that have come over.
  bool wait(std::chrono::duration<double> limit, int failures, const std::function<void(std::int64_t)>& still_alive);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
