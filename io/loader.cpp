#include "io/loader.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

LoaderOptions checked(const LoaderOptions& options) {
  if (options.read_ahead < 1 || options.workers < 1 || options.first_batch < 0 || options.data_rank < 0 ||
      options.data_rank >= options.data_ranks) {
    fail("loader: read_ahead {}, workers {}, first_batch {}, data rank {} of {}", options.read_ahead, options.workers,
         options.first_batch, options.data_rank, options.data_ranks);
  }
  if (options.global_batch < 1 || options.global_batch % options.data_ranks != 0) {
    refuse("train.global_batch: found {}, expected a multiple of the {} data-parallel ranks", options.global_batch,
           options.data_ranks);
  }
  return options;
}

}  // namespace

/// Batches lie in a ring, that of step n at place n modulo its size. Threads take samples in the run's order: when the
/// last of a batch is taken, the next batch is opened, as soon as its place is free.
struct Loader::State {
  struct Place {
    Batch batch;
    int done = 0;  ///< samples read, or given up
    std::exception_ptr error;
  };

  State(std::shared_ptr<Source> from, const LoaderOptions& chosen)
      : source(std::move(from)),
        options(checked(chosen)),
        samples(options.global_batch / options.data_ranks),
        places(static_cast<std::size_t>(options.read_ahead) + 1),
        wanted(options.first_batch),
        opened(options.first_batch),
        taken(samples) {}

  Place& place_of(std::int64_t batch) { return places[static_cast<std::size_t>(batch) % places.size()]; }
  bool has_work() const {
    return taken < samples || opened < wanted + static_cast<std::int64_t>(places.size()) - (holds_one ? 1 : 0);
  }
  void open_next();
  void read_samples(int worker);
  void read(Place& place, int sample, std::vector<std::byte*>& room, Activity& activity);

  const std::shared_ptr<Source> source;
  const LoaderOptions options;
  const int samples;  ///< of a step on this rank

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Place> places;
  std::int64_t wanted;     ///< the batch that `next` gives next
  std::int64_t opened;     ///< batches before this one have their place
  int taken;               ///< samples of batch opened - 1 that threads have taken
  bool holds_one = false;  ///< the caller is using batch wanted - 1
  bool stop = false;

  double last_wait = 0;
  std::vector<std::thread> threads;
};

void Loader::State::open_next() {
  Place& place = place_of(opened);
  Batch& batch = place.batch;
  place.done = 0;
  place.error = nullptr;
  batch.number = opened;
  batch.samples = samples;
  batch.first_sample = opened * options.global_batch + std::int64_t{options.data_rank} * samples;
  ++opened;
  taken = 0;
  try {
    batch.fields = source->fields(batch.number);
    batch.data.resize(batch.fields.size());
    for (std::size_t field = 0; field < batch.fields.size(); ++field)
      batch.data[field].resize(static_cast<std::size_t>(samples) * batch.fields[field].bytes());
  } catch (...) {
    place.error = std::current_exception();
    place.done = taken = samples;
    changed.notify_all();
  }
}

void Loader::State::read(Place& place, int sample, std::vector<std::byte*>& room, Activity& activity) {
  const Batch& batch = place.batch;
  activity.at(batch.first_sample + sample);
  room.resize(batch.fields.size());
  for (std::size_t field = 0; field < room.size(); ++field)
    room[field] = place.batch.data[field].data() + static_cast<std::size_t>(sample) * batch.fields[field].bytes();
  source->read(batch.number, batch.first_sample + sample - batch.number * options.global_batch, room);
}

void Loader::State::read_samples(int worker) {
  const ActivityThread row(worker == 0 ? "loader" : fmt::format("loader {}", worker));
  std::vector<std::byte*> room;
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [this] { return stop || has_work(); });
    if (stop) return;
    if (taken == samples) open_next();
    if (taken == samples) continue;
    Place& place = place_of(opened - 1);
    const int sample = taken++;
    lock.unlock();
    std::exception_ptr error;
    try {
      Activity activity("sample");
      read(place, sample, room, activity);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error && !place.error) place.error = error;
    if (++place.done == samples) changed.notify_all();
  }
}

Loader::Loader(std::shared_ptr<Source> source, const LoaderOptions& options)
    : state_(std::make_unique<State>(std::move(source), options)) {
  for (int worker = 0; worker < options.workers; ++worker)
    state_->threads.emplace_back([state = state_.get(), worker] { state->read_samples(worker); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

const Batch& Loader::next() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(state_->mutex);
  if (std::exchange(state_->holds_one, false)) state_->changed.notify_all();
  const Activity activity("waiting for the loader", {}, -1, Waits::for_thread);
  State::Place& place = state_->place_of(state_->wanted);
  state_->changed.wait(lock, [&] { return state_->opened > state_->wanted && place.done == state_->samples; });
  if (place.error) std::rethrow_exception(place.error);
  ++state_->wanted;
  state_->holds_one = true;
  state_->last_wait = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return place.batch;
}

bool Loader::ready() const {
  const std::lock_guard lock(state_->mutex);
  const State::Place& place = state_->place_of(state_->wanted);
  return state_->opened > state_->wanted && place.done == state_->samples && !place.error;
}

double Loader::last_wait() const { return state_->last_wait; }

}  // namespace trireme
