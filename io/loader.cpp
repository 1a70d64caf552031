#include "io/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {

struct TokenLoader::State {
  State(std::shared_ptr<TokenDataset> data, const LoaderOptions& chosen);

  void fill(TokenBatch& batch);
  void read_ahead();

  const std::shared_ptr<TokenDataset> dataset;
  const LoaderOptions options;
  const int samples;  ///< of a step on this rank
  const SampleOrder order;
  // The thread's own.
  std::int64_t next_sample;
  std::vector<std::int32_t> window;

  // Batches go round: spare, being filled, ready, in the caller's hands, spare. Each list has room for all of them.
  std::vector<TokenBatch> batches;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<TokenBatch*> spare, ready;
  std::exception_ptr error;
  bool stop = false;

  TokenBatch* current = nullptr;
  double last_wait = 0;
  std::thread thread;
};

namespace {

LoaderOptions checked(const LoaderOptions& options) {
  if (options.context < 1 || options.read_ahead < 1 || options.first_sample < 0 || options.data_rank < 0 ||
      options.data_rank >= options.data_ranks) {
    fail("loader: context {}, read_ahead {}, first_sample {}, data rank {} of {}", options.context, options.read_ahead,
         options.first_sample, options.data_rank, options.data_ranks);
  }
  if (options.global_batch < 1 || options.global_batch % options.data_ranks != 0) {
    refuse("train.global_batch: found {}, expected a multiple of the {} data-parallel ranks", options.global_batch,
           options.data_ranks);
  }
  return options;
}

}  // namespace

TokenLoader::State::State(std::shared_ptr<TokenDataset> data, const LoaderOptions& chosen)
    : dataset(std::move(data)),
      options(checked(chosen)),
      samples(options.global_batch / options.data_ranks),
      order(samples_in(*dataset, options.context), options.seed, options.shuffle),
      next_sample(options.first_sample + std::int64_t{options.data_rank} * samples),
      window(static_cast<std::size_t>(options.context) + 1),
      batches(static_cast<std::size_t>(options.read_ahead) + 1) {
  for (TokenBatch& batch : batches) {
    const std::size_t tokens = static_cast<std::size_t>(samples) * static_cast<std::size_t>(options.context);
    batch = {.samples = samples,
             .context = options.context,
             .inputs = std::vector<std::int32_t>(tokens),
             .targets = std::vector<std::int32_t>(tokens)};
    spare.push_back(&batch);
  }
  ready.reserve(batches.size());
}

void TokenLoader::State::fill(TokenBatch& batch) {
  batch.first_sample = next_sample;
  Activity activity("sample", {}, next_sample);
  for (int i = 0; i < samples; ++i) {
    activity.at(next_sample + i);
    dataset->read(order(next_sample + i) * options.context, window);
    std::copy(window.begin(), window.end() - 1, batch.inputs.begin() + std::int64_t{i} * options.context);
    std::copy(window.begin() + 1, window.end(), batch.targets.begin() + std::int64_t{i} * options.context);
  }
  next_sample += options.global_batch;
}

void TokenLoader::State::read_ahead() {
  const ActivityThread row("loader");
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [this] { return stop || !spare.empty(); });
    if (stop) return;
    TokenBatch* batch = spare.back();
    spare.pop_back();
    lock.unlock();
    try {
      fill(*batch);
    } catch (...) {
      lock.lock();
      error = std::current_exception();
      changed.notify_all();
      return;
    }
    lock.lock();
    ready.push_back(batch);
    changed.notify_all();
  }
}

TokenLoader::TokenLoader(std::shared_ptr<TokenDataset> dataset, const LoaderOptions& options)
    : state_(std::make_unique<State>(std::move(dataset), options)) {
  state_->thread = std::thread([state = state_.get()] { state->read_ahead(); });
}

TokenLoader::~TokenLoader() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
}

const TokenBatch& TokenLoader::next() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(state_->mutex);
  if (state_->current != nullptr) {
    state_->spare.push_back(std::exchange(state_->current, nullptr));
    state_->changed.notify_all();
  }
  const Activity activity("waiting for the loader", {}, -1, Waits::for_thread);
  state_->changed.wait(lock, [this] { return !state_->ready.empty() || state_->error; });
  // Batches read before the error are still good.
  if (state_->ready.empty()) std::rethrow_exception(state_->error);
  state_->current = state_->ready.front();
  state_->ready.erase(state_->ready.begin());
  state_->last_wait = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return *state_->current;
}

double TokenLoader::last_wait() const { return state_->last_wait; }

std::int64_t TokenLoader::samples_in(const TokenDataset& dataset, int context) {
  const std::int64_t samples = (dataset.tokens() - 1) / context;
  if (samples < 1) {
    refuse("{}: holds {} tokens, but one sample of model.context = {} needs {}", dataset.name(), dataset.tokens(),
           context, context + 1);
  }
  return samples;
}

}  // namespace trireme
