#include "io/mirror/background.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <iterator>
#include <map>
#include <mutex>
#include <ranges>
#include <thread>

#include "io/checkpoint/format.h"
#include "io/mirror/mirror.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;

std::chrono::seconds patience_after(int failures) {
  return std::chrono::seconds(std::min(1 << std::min(failures - 1, 10), 600));
}

}  // namespace

struct BackgroundMirror::State {
  State(std::string which, std::filesystem::path where, Retention what)
      : place(std::move(which)), directory(std::move(where)), retention(std::move(what)) {}

  void run(const std::stop_token& stop);
  void bring_all(const std::stop_token& stop, std::int64_t up_to);
  std::optional<std::int64_t> next(CheckpointMirror& mirror, std::int64_t up_to);
  bool has_same(CheckpointMirror& mirror, std::int64_t step);
  void tell(bool trouble, std::string text) {
    const std::lock_guard lock(mutex);
    news.push_back({trouble, std::move(text)});
  }

  const std::string place;
  const std::filesystem::path directory;
  const Retention retention;
  std::map<std::int64_t, std::string> mirrored;  ///< the thread's: identities of what is known to be there

  std::atomic<std::int64_t> in_use = -1, bytes = 0;
  std::mutex mutex;
  std::condition_variable_any changed;
  std::vector<News> news;
  std::int64_t last = -1;                ///< step up to which all is to be brought
  std::int64_t wishes = 0, granted = 0;  ///< equal: all was brought
  int failures = 0;                      ///< since the last success
  std::jthread thread;
};

/// The newest checkpoint of the directory that the mirror lacks and would keep.
std::optional<std::int64_t> BackgroundMirror::State::next(CheckpointMirror& mirror, std::int64_t up_to) {
  std::vector<std::int64_t> here = list_checkpoints(directory);
  std::erase_if(here, [&](std::int64_t step) {
    return step > up_to || !std::filesystem::exists(checkpoint_path(directory, step) / checkpoint::model_file);
  });
  std::vector<std::int64_t> there = mirror.steps();
  std::erase_if(there, [&](std::int64_t step) { return step > up_to; });
  std::vector<std::int64_t> all;
  std::ranges::set_union(here, there, std::back_inserter(all));
  const auto superfluous = steps_to_prune(all, retention.newest, retention.every);
  for (const std::int64_t step : here | std::views::reverse) {
    if (std::ranges::binary_search(superfluous, step)) continue;
    if (!std::ranges::binary_search(there, step) || !has_same(mirror, step)) return step;
  }
  return {};
}

bool BackgroundMirror::State::has_same(CheckpointMirror& mirror, std::int64_t step) {
  if (!mirrored.contains(step)) {
    try {
      mirrored[step] = mirror.manifest(step).identity;
    } catch (const DamagedCheckpoint&) {
      return false;
    }
  }
  const auto folder = checkpoint_path(directory, step);
  return mirrored[step] == mirror::identity_of(folder, mirror::files_of(folder));
}

void BackgroundMirror::State::bring_all(const std::stop_token& stop, std::int64_t up_to) {
  CheckpointMirror mirror(place, stop);  // anew each time: credentials may have changed
  while (const auto step = next(mirror, up_to)) {
    in_use = *step;
    bytes = 0;
    const auto begun = Clock::now();
    try {
      const auto copied = mirror.copy(directory, *step, [this](std::int64_t done) { bytes = done; });
      mirrored[*step] = copied.identity;
      tell(false, fmt::format("mirrored    {}, {:.1f} MB in {:.2f} s", mirror.describe(*step),
                              static_cast<double>(copied.bytes()) / 1e6,
                              std::chrono::duration<double>(Clock::now() - begun).count()));
    } catch (const Error&) {
      in_use = -1;
      // Retention may have taken it before it was in use.
      if (stop.stop_requested() || std::filesystem::exists(checkpoint_path(directory, *step))) throw;
    }
    in_use = -1;
    mirror.prune(retention, up_to);
  }
}

void BackgroundMirror::State::run(const std::stop_token& stop) {
  Clock::time_point retry_at = Clock::now();
  std::unique_lock lock(mutex);
  while (true) {
    changed.notify_all();
    if (failures > 0) {
      changed.wait_until(lock, stop, retry_at, [] { return false; });
    } else {
      changed.wait(lock, stop, [&] { return granted != wishes; });
    }
    if (stop.stop_requested()) return;
    const std::int64_t wish = wishes;
    const std::int64_t up_to = last;
    lock.unlock();
    std::string failure;
    try {
      bring_all(stop, up_to);
    } catch (const std::exception& error) {
      failure = error.what();
    }
    lock.lock();
    if (stop.stop_requested()) return;
    failures = failure.empty() ? 0 : failures + 1;
    if (failure.empty()) {
      granted = wish;
      continue;
    }
    const auto patience = patience_after(failures);
    retry_at = Clock::now() + patience;
    news.push_back({true, fmt::format("NOT MIRRORED {}; the next attempt is in {} s", failure, patience.count())});
  }
}

BackgroundMirror::BackgroundMirror(const std::string& place, std::filesystem::path directory, Retention retention)
    : state_(std::make_unique<State>(place, std::move(directory), std::move(retention))) {
  mirror::make_object_store(place, {});  // refuses what is wrong before the thread begins
  state_->thread = std::jthread([state = state_.get()](const std::stop_token& stop) { state->run(stop); });
}

BackgroundMirror::~BackgroundMirror() {
  state_->thread.request_stop();
  state_->thread.join();
}

void BackgroundMirror::wake(std::int64_t step) {
  const std::lock_guard lock(state_->mutex);
  state_->last = step;
  ++state_->wishes;
  state_->changed.notify_all();
}

std::int64_t BackgroundMirror::in_use() const { return state_->in_use; }

std::vector<BackgroundMirror::News> BackgroundMirror::take_news() {
  const std::lock_guard lock(state_->mutex);
  return std::exchange(state_->news, {});
}

bool BackgroundMirror::wait(std::chrono::duration<double> limit, int failures,
                            const std::function<void(std::int64_t)>& still_alive) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(limit);
  std::unique_lock lock(state_->mutex);
  const auto idle = [&] { return state_->granted == state_->wishes; };
  while (!idle() && state_->failures < failures && Clock::now() < end) {
    state_->changed.wait_for(lock, std::chrono::milliseconds(100));
    lock.unlock();  // the caller may ask for the news
    still_alive(state_->bytes >> 20);
    lock.lock();
  }
  return idle();
}

}  // namespace trireme
