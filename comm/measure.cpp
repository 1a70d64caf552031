#include "comm/measure.h"

#include <algorithm>
#include <array>

namespace trireme {
namespace {

constexpr int small_round_trips = 40;
constexpr int large_round_trips = 4;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string silence(const Communicator& ranks, int peer) {
  return fmt::format("rank {} does not answer rank {}", peer, ranks.rank());
}

void pass(Communicator& ranks, Transfer::Direction direction, int peer, const Tensor& message, Deadline deadline) {
  const Transfer transfer{direction, peer, measure_tag, message};
  Exchange exchange = ranks.exchange({&transfer, 1});
  complete(exchange.received, deadline, silence(ranks, peer));
  complete(exchange.sent, deadline, silence(ranks, peer));
}

/// Seconds of `count` round trips after a first one, ascending.
std::vector<double> round_trips(Communicator& ranks, Backend& backend, int peer, std::int64_t bytes, int count,
                                Deadline deadline) {
  const bool first = ranks.rank() < peer;
  Tensor message = backend.allocate({bytes / 4}, DType::f32);
  backend.zero(message);
  std::vector<double> seconds;
  for (int i = 0; i <= count; ++i) {
    const auto start = Clock::now();
    pass(ranks, first ? Transfer::Direction::send : Transfer::Direction::receive, peer, message, deadline);
    pass(ranks, first ? Transfer::Direction::receive : Transfer::Direction::send, peer, message, deadline);
    backend.synchronize();
    if (i > 0) seconds.push_back(seconds_since(start));
  }
  std::ranges::sort(seconds);
  return seconds;
}

double system_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

LinkSpeed measure_link(Communicator& ranks, Backend& backend, int peer, Deadline deadline) {
  const auto small = round_trips(ranks, backend, peer, 8, small_round_trips, deadline);
  const auto large = round_trips(ranks, backend, peer, measured_bytes, large_round_trips, deadline);
  return {.latency = small[small.size() / 2] / 2,
          .bandwidth = 2 * static_cast<double>(measured_bytes) / large[large.size() / 2]};
}

double measure_all_reduce(Communicator& ranks, Backend& backend, std::int64_t bytes, Deadline deadline) {
  Tensor buffer = backend.allocate({bytes / 4}, DType::f32);
  backend.zero(buffer);
  std::vector<double> seconds;
  const int count = bytes < measured_bytes ? small_round_trips : large_round_trips;
  for (int i = 0; i <= count; ++i) {
    const auto start = Clock::now();
    Request request = ranks.all_reduce(buffer, Reduction::sum);
    complete(request, deadline, fmt::format("an all-reduce between all {} ranks does not end", ranks.size()));
    backend.synchronize();
    if (i > 0) seconds.push_back(seconds_since(start));
  }
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

double measure_clock(Communicator& ranks, int peer, bool asks, Deadline deadline) {
  MemoryPool pool(make_host_memory());
  Tensor time(pool, {1}, DType::f64);
  double shortest = 1e9;
  double ahead = 0;
  for (int i = 0; i < 8; ++i) {
    if (!asks) {
      pass(ranks, Transfer::Direction::receive, peer, time, deadline);
      time.values<double>()[0] = system_time();
      pass(ranks, Transfer::Direction::send, peer, time, deadline);
      continue;
    }
    const double before = system_time();
    const auto start = Clock::now();
    pass(ranks, Transfer::Direction::send, peer, time, deadline);
    pass(ranks, Transfer::Direction::receive, peer, time, deadline);
    const double seconds = seconds_since(start);
    if (seconds >= shortest) continue;
    shortest = seconds;
    ahead = time.values<double>()[0] - (before + seconds / 2);
  }
  return ahead;
}

}  // namespace trireme
