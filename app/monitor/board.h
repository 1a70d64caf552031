// What each rank of a host shows of its steps, in memory that the ranks share: written with a few relaxed stores at the
// end of a step, read when someone asks the host's endpoint. No rank waits for another.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace trireme {

/// Upper bounds of the step time histogram's buckets, in seconds; the last bucket has none.
inline constexpr std::array<double, 16> step_bounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                       0.5,   1,      2.5,   5,    10,    30,   60,  120};

/// A number with one writer.
class Figure {
 public:
  void add(double value) { set(get() + value); }
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  double get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_;
};

/// One step of one rank.
struct RankStep {
  double seconds = 0;
  double data_wait_seconds = 0;
  double compute_seconds = 0;        ///< the rank's own work
  double pipeline_wait_seconds = 0;  ///< for other stages
};

/// One rank's place: plain data, all zero at first.
struct RankBoard {
  std::atomic<std::int32_t> process;  ///< 0: no rank is here
  std::atomic<std::int32_t> rank;     ///< in the world
  std::atomic<std::int32_t> stage;    ///< of the pipeline
  std::atomic<std::uint64_t> steps;   ///< since the process began
  Figure alive;                       ///< steady seconds at which a step, or a batch of a validation, last ended
  Figure step_seconds, data_wait_seconds, compute_seconds, pipeline_wait_seconds;  ///< sums
  Figure recent_busy, recent_wait;  ///< smoothed seconds of own work (data included) and of waiting, in a step
  std::array<std::atomic<std::uint64_t>, step_bounds.size() + 1> histogram;

  void add(const RankStep& step, double now);
};

/// What the ranks of a host have in common; plain data too.
struct HostBoard {
  std::atomic<bool> told_divergence;    ///< someone was told that the loss is not finite
  Figure last_scrape, scrape_interval;  ///< steady seconds

  void scraped(double now);
};

/// The clock of the boards: the same for all processes of a host.
double steady_seconds();

}  // namespace trireme
