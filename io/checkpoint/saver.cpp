#include "io/checkpoint/saver.h"

#include <atomic>
#include <chrono>
#include <exception>
#include <numeric>
#include <thread>

#include "io/checkpoint/agreement.h"
#include "io/checkpoint/file_operations.h"
#include "io/checkpoint/format.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {

using namespace checkpoint;

namespace {

using Clock = std::chrono::steady_clock;

/// A tensor that no rank wrote would be a hole that no shard tells of.
void check_all_are_there(const std::filesystem::path& folder, const std::vector<CheckpointItem>& items) {
  const hdf5::Handle model = hdf5::open_file(folder / model_file);
  for (const CheckpointItem& item : items) {
    if (!hdf5::exists(model, item.path)) fail("{}: no rank holds replica 0 of it", item.path);
  }
}

/// Gives the finished folder its name. At no moment is there less than one complete checkpoint of the step where
/// there was one before; only a file system that cannot exchange two names has it under another name for a moment.
/// exchanged: whether `partial` is now what was replaced.
void publish(const std::filesystem::path& partial, const std::filesystem::path& folder, bool& exchanged) {
  files::sync(partial);
  const std::filesystem::path replaced = replaced_path(folder);
  const bool replaces = std::filesystem::exists(folder);
  exchanged = replaces && files::exchange(partial, folder);
  if (replaces && !exchanged) {
    files::remove(replaced);
    files::rename(folder, replaced);
  }
  if (!exchanged) files::rename(partial, folder);
  files::sync(folder.parent_path());
  if (replaces) files::remove(exchanged ? partial : replaced);
}

}  // namespace

struct CheckpointSaver::State {
  State(std::filesystem::path where, const std::optional<Retention>& which, Communicator& ranks)
      : directory(std::move(where)), retention(which), world(ranks) {}
  ~State() {
    if (thread.joinable()) thread.join();
  }

  void plan(std::vector<CheckpointItem> mine, int shard, int shards, std::function<void()> before_publishing);
  void start_stage();
  void join() {
    if (thread.joinable()) thread.join();
  }
  void give_up() noexcept;

  const std::filesystem::path directory;
  const std::optional<Retention> retention;
  Communicator& world;

  CheckpointInfo info{.step = -1};
  std::filesystem::path folder, partial;
  std::vector<CheckpointItem> items;
  bool items_checked = false;  ///< the ranks hold the same tensors at every save: once is enough
  std::string trouble;
  Clock::time_point begun;

  std::vector<std::function<void()>> stages;  ///< this rank's part of each that is still to come, the next one last
  bool under_way = false;
  bool exchanged = false;  ///< the new folder has the name, and the old one that of the partial one
  std::atomic<bool> busy = false;
  std::exception_ptr error;  ///< of the thread's last stage
  std::thread thread;
};

void CheckpointSaver::State::plan(std::vector<CheckpointItem> mine, int shard, int shards,
                                  std::function<void()> before_publishing) {
  const bool first = world.rank() == 0;
  const auto complete = [this, shards] {
    try {
      write_model(partial, info, shards, read_shards(partial, shards));
    } catch (const DamagedCheckpoint& damage) {  // of the disk, not of what someone gave us
      fail("what was just written cannot be read back: {}", damage.what());
    }
  };
  stages.clear();
  stages.emplace_back([this, first, complete, before = std::move(before_publishing)] {
    if (!first) return;
    if (items_checked) complete();
    if (before) before();
    publish(partial, folder, exchanged);
    try {
      if (retention)
        prune_checkpoints(directory, retention->newest, retention->every, info.step,
                          retention->in_use ? retention->in_use() : -1);
    } catch (const Error& problem) {
      trouble = problem.what();
    }
  });
  if (!items_checked) {  // every rank looks at the model file before it is published
    stages.emplace_back([this] { check_all_are_there(partial, items); });
    stages.emplace_back([first, complete] {
      if (first) complete();
    });
  }
  stages.emplace_back([this, shard, held = std::move(mine)] {
    if (!held.empty()) write_shard(partial / shard_file(shard), info.step, held);
  });
  // In the thread as well: making and removing names waits for the disk.
  stages.emplace_back([this, first] {
    if (!first) return;
    files::remove(partial);
    files::make_directory(partial);
  });
}

void CheckpointSaver::State::start_stage() {
  busy = true;
  thread = std::thread([this, work = std::move(stages.back())] {
    const ActivityThread row("checkpoint");
    const Activity activity("saving checkpoint", {}, info.step);
    try {
      work();
    } catch (...) {
      error = std::current_exception();
    }
    busy = false;
  });
  stages.pop_back();
}

/// Makes room on a disk that may be full. The next save would do it too.
void CheckpointSaver::State::give_up() noexcept {
  under_way = false;
  stages.clear();
  // Until the exchange is on disk, a power cut may take it back: the old checkpoint must be there then.
  if (world.rank() != 0 || exchanged) return;
  try {
    files::remove(partial);
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the save's own error is the one to tell
  }
}

CheckpointSaver::CheckpointSaver(std::filesystem::path directory, const std::optional<Retention>& retention,
                                 Communicator& world)
    : state_(std::make_unique<State>(std::move(directory), retention, world)) {}
CheckpointSaver::~CheckpointSaver() = default;

void CheckpointSaver::begin(const CheckpointInfo& info, std::vector<CheckpointItem> items,
                            std::function<void()> before_publishing) {
  State& state = *state_;
  if (state.under_way) fail("a save of step {} begins while that of step {} is under way", info.step, state.info.step);
  state.begun = Clock::now();
  state.info = info;
  state.folder = checkpoint_path(state.directory, info.step);
  state.partial = partial_path(state.folder);
  state.items = std::move(items);
  state.trouble.clear();
  state.exchanged = false;
  std::vector<CheckpointItem> mine;
  for (const CheckpointItem& item : state.items) {
    if (item.shard.replica == 0 && item.shard.extent.elements() > 0) mine.push_back(item);
  }
  const int rank = state.world.rank();
  const std::vector<int> writers = gather(state.world, mine.empty() ? 0 : 1);
  const int shard = std::accumulate(writers.begin(), writers.begin() + rank, 0);
  const int shards = std::accumulate(writers.begin(), writers.end(), 0);
  state.plan(std::move(mine), shard, shards, std::move(before_publishing));
  state.under_way = true;
  state.start_stage();
}

bool CheckpointSaver::under_way() const { return state_->under_way; }
std::int64_t CheckpointSaver::step() const { return state_->info.step; }
bool CheckpointSaver::busy() const { return state_->busy; }

std::optional<SavedCheckpoint> CheckpointSaver::advance(bool any_busy) {
  State& state = *state_;
  if (!state.under_way || any_busy) return {};
  state.join();
  try {
    together(state.world, [&] {
      if (state.error) std::rethrow_exception(std::exchange(state.error, nullptr));
    });
  } catch (const Error&) {
    state.give_up();
    throw;
  }
  if (!state.stages.empty()) {
    state.start_stage();
    return {};
  }
  state.under_way = false;
  state.items_checked = true;
  return SavedCheckpoint{.folder = state.folder,
                         .seconds = std::chrono::duration<double>(Clock::now() - state.begun).count(),
                         .trouble = state.trouble};
}

SavedCheckpoint CheckpointSaver::finish() {
  while (true) {
    // Each rank waits for its own thread, and in the agreement for the others.
    if (auto saved = advance(false)) return *saved;
  }
}

std::filesystem::path save_checkpoint(const std::filesystem::path& directory, const CheckpointInfo& info,
                                      const std::vector<CheckpointItem>& items, Communicator& world) {
  CheckpointSaver saver(directory, std::nullopt, world);
  saver.begin(info, items);
  return saver.finish().folder;
}

}  // namespace trireme
