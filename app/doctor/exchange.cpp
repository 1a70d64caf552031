#include "app/doctor/exchange.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "comm/measure.h"

namespace trireme {

using nlohmann::json;

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PairReport, first, second, latency, bandwidth, silence)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Connection, interface, local, remote, established, speed)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RingReport, pairs, connections)

namespace {

/// The rank that this one talks to in a round of the ring; -1: none. Round 0 pairs 0-1, 2-3...; round 1 the others, and
/// the last rank with rank 0, for which an odd number of ranks needs round 2.
int partner_of(int rank, int round, int size) {
  int partner = -1;
  if (round == 0) partner = rank ^ 1;
  if (round == 1 && size > 2) partner = rank % 2 == 1 ? rank + 1 : rank - 1;
  if (round == 1 && size > 2 && size % 2 == 0) partner = (partner + size) % size;
  if (round == 2 && size > 2 && size % 2 == 1 && (rank == 0 || rank == size - 1)) partner = size - 1 - rank;
  return partner < size ? partner : -1;
}

}  // namespace

std::vector<std::string> gather_all(World& world, const std::string& text, Patience patience) {
  std::vector<std::string> result;
  std::vector<int> silent;
  for (const auto& each : gather_texts(world.all(), text, patience.of(world))) {
    if (!each) silent.push_back(static_cast<int>(result.size()));
    result.push_back(each.value_or(""));
  }
  if (!silent.empty())
    throw Unanswered(fmt::format("{} {} did not answer in {} s; dead, stopped, or cut off by a firewall?",
                                 silent.size() == 1 ? "rank" : "ranks", format_ranges(silent), patience.seconds));
  return result;
}

Ranks gather_facts(World& world, RankFacts mine, Patience patience) {
  const bool first = world.rank() == 0;
  const std::string reference = broadcast_text(world.all(), first ? to_text(mine.libraries) : "", patience.of(world));
  if (!first) mine.libraries = differing(mine.libraries, libraries_of(reference));
  Ranks ranks;
  for (const std::string& text : gather_all(world, to_text(mine), patience)) ranks.push_back(facts_of(text));
  return ranks;
}

std::vector<int> first_ranks(World& world, const Ranks& ranks, Patience patience) {
  json firsts = json::array();
  for (const HostRanks& host : hosts_of(ranks)) firsts.push_back(host.ranks.front());
  return json::parse(broadcast_text(world.all(), firsts.dump(), patience.of(world))).get<std::vector<int>>();
}

std::vector<ClockReading> read_clocks(World& world, const Ranks& ranks, const std::vector<int>& firsts,
                                      Patience patience) {
  std::vector<ClockReading> readings;
  for (const int first : firsts) {
    if (first == 0) continue;
    if (world.rank() == 0)
      readings.push_back(
          {ranks[static_cast<std::size_t>(first)].host, measure_clock(world.all(), first, true, patience.of(world))});
    else if (world.rank() == first)
      measure_clock(world.all(), 0, false, patience.of(world));
  }
  return readings;
}

RingReport measure_ring(World& world, Communicator& ranks, Backend& backend, Patience patience) {
  RingReport mine;
  const auto begin = std::chrono::steady_clock::now();
  constexpr int rounds = 3;
  for (int round = 0; round < rounds; ++round) {
    const int partner = partner_of(ranks.rank(), round, ranks.size());
    if (partner < 0) continue;
    PairReport pair{.first = std::min(ranks.rank(), partner), .second = std::max(ranks.rank(), partner)};
    // A partner that waited in vain for another in an earlier round comes that much later.
    const Deadline deadline =
        begin + (Patience::after((round + 1) * patience.seconds) - std::chrono::steady_clock::now());
    try {
      const LinkSpeed speed = measure_link(ranks, backend, partner, deadline);
      pair.latency = speed.latency;
      pair.bandwidth = speed.bandwidth;
    } catch (const Unanswered& error) {
      pair.silence = error.what();
    }
    // Both ends may have something to tell where it failed: one of them may be silent for ever.
    if (ranks.rank() == pair.first || !pair.silence.empty()) mine.pairs.push_back(pair);
  }
  mine.connections = connections_to_other_hosts();

  RingReport all;
  // The slowest rank to come has waited for all its partners.
  const Deadline deadline =
      begin + (Patience::after((rounds + 1) * patience.seconds) - std::chrono::steady_clock::now());
  for (const auto& text :
       gather_texts(world.all(), json(mine).dump(), world.rank() == 0 ? deadline : patience.of(world))) {
    if (!text) continue;
    const auto report = json::parse(*text).get<RingReport>();
    for (const PairReport& pair : report.pairs)
      if (std::ranges::none_of(all.pairs, [&](const PairReport& known) {
            return known.first == pair.first && known.second == pair.second;
          }))
        all.pairs.push_back(pair);
    all.connections.insert(all.connections.end(), report.connections.begin(), report.connections.end());
  }
  return all;
}

}  // namespace trireme
