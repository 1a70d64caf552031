#include "app/monitor/board.h"

#include <algorithm>
#include <chrono>

namespace trireme {
namespace {

constexpr double newest_share = 0.1;  // of a smoothed figure

void smooth(Figure& figure, double value, bool first) {
  figure.set(first ? value : (1 - newest_share) * figure.get() + newest_share * value);
}

void count(std::atomic<std::uint64_t>& counter) {  // one writer
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void RankBoard::add(const RankStep& step, double now) {
  step_seconds.add(step.seconds);
  data_wait_seconds.add(step.data_wait_seconds);
  compute_seconds.add(step.compute_seconds);
  pipeline_wait_seconds.add(step.pipeline_wait_seconds);
  const bool first = steps == 0;
  smooth(recent_busy, step.compute_seconds + step.data_wait_seconds, first);
  smooth(recent_wait, step.pipeline_wait_seconds, first);
  const auto* bucket = std::ranges::lower_bound(step_bounds, step.seconds);
  count(histogram[static_cast<std::size_t>(bucket - step_bounds.begin())]);
  alive.set(now);
  count(steps);
}

void HostBoard::scraped(double now) {
  if (last_scrape.get() > 0) scrape_interval.set(now - last_scrape.get());
  last_scrape.set(now);
}

}  // namespace trireme
