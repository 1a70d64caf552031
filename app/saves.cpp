#include "app/saves.h"

#include <algorithm>
#include <thread>

#include "io/checkpoint/agreement.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

constexpr double slow_disk = 1e8;  // bytes a second, to guess how long the first save takes
constexpr int last_attempts = 3;
constexpr int last_attempts_of_mirror = 3;

std::chrono::seconds patience_after(int failures) {
  return std::chrono::seconds(std::min(1 << std::min(failures - 1, 10), 600));
}

std::unique_ptr<BackgroundMirror> make_mirror(const CheckpointOptions& options, const World& world) {
  if (options.mirror.empty() || world.rank() != 0) return nullptr;
  return std::make_unique<BackgroundMirror>(options.mirror, options.directory,
                                            Retention{.newest = options.keep, .every = options.keep_every});
}

}  // namespace

Saves::Saves(Session& session, std::int64_t last_saved, MetricsLog* log, Progress* progress)
    : session_(session),
      options_(session.configuration().checkpoint),
      log_(log),
      progress_(progress),
      mirror_(make_mirror(options_, session.world())),
      saver_(options_.directory,
             Retention{.newest = options_.keep,
                       .every = options_.keep_every,
                       .in_use = [this] { return mirror_ ? mirror_->in_use() : -1; }},
             session.world().all()),
      // What comes from a device has to pass through host memory in any case.
      copies_(options_.background || session.backend().kind() != DeviceKind::cpu),
      last_saved_(last_saved) {
  if (copies_) copy_bytes_ = session.reserve_snapshot();
  longest_ = static_cast<double>(copy_bytes_) / slow_disk;
  if (mirror_ && last_saved > 0) mirror_->wake(last_saved);  // an earlier life may not have come to it
}

void Saves::note(const std::string& text) const {
  if (progress_ != nullptr) progress_->note(text);
}

void Saves::attempt(const std::function<std::optional<SavedCheckpoint>()>& part) {
  const auto start = Clock::now();
  std::optional<SavedCheckpoint> saved;
  std::string failure;
  try {
    saved = part();
  } catch (const Error& error) {  // the same on all ranks
    failure = error.what();
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  stall_ += seconds;
  stall_of_save_ += seconds;
  if (saved) complete(*saved);
  if (failure.empty()) return;
  failure_ = failure;
  ++tally_.failed;
  const auto patience = patience_after(++failures_);
  retry_at_ = Clock::now() + patience;
  if (progress_ != nullptr)
    progress_->warn(fmt::format("NOT SAVED   step {}: {}; {}; the next attempt is in {} s at the earliest",
                                saver_.step(), failure,
                                last_saved_ > 0 ? fmt::format("the newest checkpoint is of step {}", last_saved_)
                                                : "there is no checkpoint yet",
                                patience.count()));
}

bool Saves::wants_retry() const {
  return session_.world().rank() == 0 && failures_ > 0 && !saver_.under_way() && Clock::now() >= retry_at_;
}

void Saves::complete(const SavedCheckpoint& saved) {
  last_saved_ = saver_.step();
  failures_ = 0;
  longest_ = std::max(longest_, saved.seconds);
  ++tally_.saved;
  tally_.seconds = saved.seconds;
  tally_.folder = saved.folder;
  note(fmt::format("saved       {} in {:.2f} s, {:.2f} s of them waited for", saved.folder.string(), saved.seconds,
                   stall_of_save_));
  if (progress_ != nullptr && !saved.trouble.empty())
    progress_->warn(fmt::format("older checkpoints could not be removed: {}", saved.trouble));
  if (mirror_) mirror_->wake(last_saved_);
}

void Saves::wait_for_the_save_under_way() {
  if (!saver_.under_way()) return;
  const Activity activity("waiting for the checkpoint", {}, saver_.step(), Waits::for_thread);
  attempt([&] { return saver_.finish(); });
}

void Saves::begin(std::int64_t step) {
  if (saver_.under_way()) {
    note(fmt::format("waiting     the checkpoint of step {} is still being written", saver_.step()));
    wait_for_the_save_under_way();
  }
  const Activity activity("checkpoint", {}, step);
  stall_of_save_ = 0;
  attempt([&] {
    const std::int64_t samples = step * session_.configuration().train.global_batch;
    saver_.begin(session_.checkpoint_info(step, samples), copies_ ? session_.snapshot() : session_.items_in_place(),
                 [this] {
                   if (log_ != nullptr) log_->sync();  // no step that the checkpoint has done may be missing there
                 });
    return std::nullopt;
  });
  if (!options_.background) wait_for_the_save_under_way();
}

void Saves::tell_of_mirror() {
  if (!mirror_ || progress_ == nullptr) return;
  for (const auto& [trouble, text] : mirror_->take_news()) {
    if (trouble) {
      progress_->warn(text);
    } else {
      progress_->note(text);
    }
  }
}

void Saves::finish_mirror(double limit) {
  if (options_.mirror.empty()) return;
  together(session_.world().all(), [&] {
    if (!mirror_) return;
    Activity activity("waiting for the mirror", options_.mirror, 0, Waits::for_thread);
    const bool done = mirror_->wait(std::chrono::duration<double>(std::clamp(limit, 0.0, 1e6)), last_attempts_of_mirror,
                                    [&](std::int64_t megabytes) {
                                      activity.at(megabytes);
                                      tell_of_mirror();
                                    });
    tell_of_mirror();
    if (!done && progress_ != nullptr)
      progress_->warn(
          fmt::format("NOT MIRRORED checkpoint.mirror={} lacks the newest of {}: the next start of this run "
                      "copies it",
                      options_.mirror, options_.directory.string()));
  });
}

void Saves::advance(bool any_busy) {
  tell_of_mirror();
  attempt([&] { return saver_.advance(any_busy); });
}

void Saves::finish(std::int64_t step) {
  wait_for_the_save_under_way();
  for (int number = 1; last_saved_ != step; ++number) {
    begin(step);
    wait_for_the_save_under_way();
    if (last_saved_ == step) return;
    if (number == last_attempts)
      fail(
          "checkpoint.directory={}: step {} could not be saved in {} attempts: {}; {}", options_.directory.string(),
          step, number, failure_,
          last_saved_ > 0 ? fmt::format("the newest checkpoint is of step {}", last_saved_) : "there is no checkpoint");
    std::this_thread::sleep_for(std::chrono::seconds(number));
  }
}

}  // namespace trireme
