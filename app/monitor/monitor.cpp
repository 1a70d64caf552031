#include "app/monitor/monitor.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "app/monitor/server.h"
#include "io/checkpoint/agreement.h"
#include "kernels/error.h"

namespace trireme {

struct Monitor::State {
  State(World& world, const Configuration& configuration);

  Answer metrics();
  Answer health() const;
  Answer readiness() const;
  /// A copy, completed with what takes a look at files.
  std::optional<RunFigures> run_figures();

  const double watchdog;
  const std::filesystem::path checkpoints;
  const bool is_first;  ///< of the world
  struct Alone {
    HostBoard host;
    RankBoard rank;
  };
  std::unique_ptr<Alone> alone;  ///< where the ranks of the host share no memory
  HostBoard* host = nullptr;
  std::span<RankBoard> ranks;
  RankBoard* own = nullptr;
  ListenAddress address;

  std::mutex figures_mutex;
  RunFigures figures;  ///< of the first rank
  std::mutex scrape_mutex;
  std::optional<Nvml> nvml;
  std::filesystem::path measured;  ///< checkpoint whose size is known
  std::optional<double> measured_bytes;
  std::optional<HttpServer> server;
};

Monitor::State::State(World& world, const Configuration& configuration)
    : watchdog(configuration.train.watchdog),
      checkpoints(configuration.checkpoint.directory),
      is_first(world.rank() == 0) {
  read_address(configuration.monitor.listen, address);
  const auto count = static_cast<std::size_t>(world.local_size());
  if (void* memory = world.shared_memory(sizeof(HostBoard) + count * sizeof(RankBoard))) {
    host = static_cast<HostBoard*>(memory);
    ranks = {reinterpret_cast<RankBoard*>(host + 1), count};
    own = &ranks[static_cast<std::size_t>(world.local_rank())];
  } else {
    alone = std::make_unique<Alone>();
    host = &alone->host;
    own = &alone->rank;
    ranks = {own, 1};
  }
  own->rank = world.rank();
  own->alive.set(steady_seconds());
  own->process = getpid();
  together(world.all(), [&] {
    if (world.local_rank() != 0) return;
    nvml.emplace(std::getenv("CUDA_VISIBLE_DEVICES"));
    server.emplace(address, std::vector<HttpServer::Page>{{"/metrics", [this] { return metrics(); }},
                                                          {"/healthz", [this] { return health(); }},
                                                          {"/readyz", [this] { return readiness(); }}});
  });
}

Answer Monitor::State::metrics() {
  const std::scoped_lock lock(scrape_mutex);
  const double now = steady_seconds();
  HostFigures all{.now = now,
                  .ranks = ranks,
                  .watchdog = watchdog,
                  .run = run_figures(),
                  .gpus = nvml->read(),
                  .memory = host_memory(),
                  .checkpoint_room = {}};
  if (!checkpoints.empty()) all.checkpoint_room = room_at(checkpoints);
  return {200, exposition(all), [this, now, diverged = all.run && all.run->not_finite > 0] {
            host->scraped(now);
            if (diverged) host->told_divergence = true;
          }};
}

std::optional<RunFigures> Monitor::State::run_figures() {
  if (!is_first) return {};
  RunFigures copy = [this] {
    const std::scoped_lock lock(figures_mutex);
    return figures;
  }();
  if (copy.saves && copy.saves->folder != measured) {
    measured = copy.saves->folder;
    measured_bytes = bytes_in(measured);
  }
  copy.checkpoint_bytes = measured_bytes;
  return copy;
}

Answer Monitor::State::health() const {
  const double age = step_age(ranks, steady_seconds()).value_or(0);
  const bool good = watchdog <= 0 || age <= watchdog;
  return {good ? 200 : 503,
          fmt::format("{}: the last step ended {:.1f} s ago, train.watchdog={:g}\n", good ? "ok" : "stalled", age,
                      watchdog),
          {}};
}

Answer Monitor::State::readiness() const {
  const bool ready = all_stepped(ranks);
  return {ready ? 200 : 503, ready ? "ok\n" : "no step has ended yet\n", {}};
}

Monitor::Monitor(World& world, const Configuration& configuration) {
  if (!configuration.monitor.listen.empty()) state_ = std::make_unique<State>(world, configuration);
}

Monitor::~Monitor() {
  if (state_) state_->server.reset();
}

std::string Monitor::address() const {
  if (!state_ || !state_->server) return {};
  return fmt::format("{}:{}", state_->address.host, state_->server->port());
}

void Monitor::begin(RunFacts facts) {
  if (!state_) return;
  state_->own->stage = facts.stage;
  alive();
  const std::scoped_lock lock(state_->scrape_mutex, state_->figures_mutex);
  state_->figures.facts = std::move(facts);
  state_->figures.saved_at = steady_seconds();
  if (!state_->checkpoints.empty()) state_->figures.saves.emplace();
}

void Monitor::step(const StepResult& result) {
  if (!state_) return;
  state_->own->add({.seconds = result.seconds,
                    .data_wait_seconds = result.data_wait_seconds,
                    .compute_seconds = result.stage.compute,
                    .pipeline_wait_seconds = result.stage.waiting},
                   steady_seconds());
}

void Monitor::alive() {
  if (state_) state_->own->alive.set(steady_seconds());
}

void Monitor::report(const StepMetrics& metrics) {
  if (!state_) return;
  const std::scoped_lock lock(state_->figures_mutex);
  RunFigures& run = state_->figures;
  // The metrics count from the run's beginning, in which each step has as many.
  ++run.steps;
  run.samples += metrics.samples / metrics.step;
  run.tokens += metrics.tokens / metrics.step;
  run.checkpoint_stall_seconds += metrics.checkpoint_stall_seconds;
  if (!metrics.validation.empty()) run.validation = metrics.validation;
  run.last = metrics;
}

void Monitor::saves(const SaveTally& tally) {
  if (!state_) return;
  const std::scoped_lock lock(state_->figures_mutex);
  RunFigures& run = state_->figures;
  if (run.saves && run.saves->saved != tally.saved) run.saved_at = steady_seconds();
  run.saves = tally;
}

void Monitor::diverged(const StepResult& result) {
  if (!state_) return;
  {
    const std::scoped_lock lock(state_->figures_mutex);
    ++state_->figures.not_finite;
    state_->figures.last.step = result.step;
    state_->figures.last.loss = result.loss;
    state_->figures.last.grad_norm = result.gradient_norm;
  }
  const HostBoard& host = *state_->host;
  if (host.last_scrape.get() <= 0) return;
  const double end = steady_seconds() + std::clamp(2 * host.scrape_interval.get(), 1.0, 60.0);
  while (!host.told_divergence && steady_seconds() < end) std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

}  // namespace trireme
