// Links, networks, memory and disk. The rest of judge.h is in judge.cpp.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "app/doctor/judge.h"
#include "app/progress.h"
#include "comm/measure.h"

namespace trireme {
namespace {

enum class LinkClass { same_cores, same_host, between_hosts };
constexpr std::array class_names = {"same-cores", "same-host", "between-hosts"};

/// Ranks are on the same cores where they were bound to them, and not merely left free on one host.
LinkClass class_of(const RankFacts& one, const RankFacts& other) {
  if (one.host != other.host) return LinkClass::between_hosts;
  const bool bound = one.cores != one.host_cores || other.cores != other.host_cores;
  const bool shared =
      std::ranges::any_of(one.cores, [&](int core) { return std::ranges::binary_search(other.cores, core); });
  return bound && shared ? LinkClass::same_cores : LinkClass::same_host;
}

Finding judge_class(const char* name, const Ranks& ranks, std::vector<PairReport> pairs) {
  std::ranges::sort(pairs, {}, &PairReport::bandwidth);
  const PairReport& slowest = pairs.front();
  const double typical = pairs[pairs.size() / 2].bandwidth;
  const double latency = std::ranges::max_element(pairs, {}, &PairReport::latency)->latency;
  const auto host = [&](int rank) { return ranks[static_cast<std::size_t>(rank)].host; };
  const std::string found = fmt::format("{}, {}/s one way", format_seconds(latency), format_bytes(slowest.bandwidth));
  if (host(slowest.first) != host(slowest.second) && typical > 4 * slowest.bandwidth)
    return {Verdict::warn, name,
            fmt::format("{} between ranks {} ({}) and {} ({}), but {}/s elsewhere; look at their cables, ports and MTU",
                        found, slowest.first, host(slowest.first), slowest.second, host(slowest.second),
                        format_bytes(typical))};
  return {Verdict::ok, name,
          pairs.size() == 1 ? fmt::format("{} between ranks {} and {}", found, slowest.first, slowest.second)
                            : fmt::format("{} in the slowest of {} pairs, ranks {} and {}", found, pairs.size(),
                                          slowest.first, slowest.second)};
}

bool has(const RankFacts& facts, const char* part) { return std::ranges::find(facts.parts, part) != facts.parts.end(); }

/// How ranks of one host talk.
std::string within_host(const RankFacts& facts) {
  if (has(facts, "pml_ucx")) return "UCX";
  if (has(facts, "btl_vader")) return "shared memory (btl vader)";
  // Before Open MPI 5 this one only stood for vader, which it lets select itself.
  return has(facts, "btl_sm") ? "shared memory (btl sm)" : "";
}

std::string between_hosts(const RankFacts& facts, const std::vector<Connection>& connections) {
  if (has(facts, "pml_ucx")) return "UCX";
  for (const std::string& part : facts.parts)
    if (part.starts_with("mtl_")) return part;
  std::set<std::string> interfaces;
  for (const Connection& connection : connections) {
    interfaces.insert(fmt::format("{}{}", connection.interface.empty() ? connection.local : connection.interface,
                                  connection.speed > 0 ? fmt::format(" ({:.0f} Mb/s)", connection.speed / 1e6) : ""));
  }
  return interfaces.empty() ? "no TCP connection seen" : fmt::format("TCP over {}", fmt::join(interfaces, ", "));
}

}  // namespace

Findings judge_links(const Ranks& ranks, const std::vector<PairReport>& pairs) {
  std::array<std::vector<PairReport>, 3> classes;
  Findings findings;
  for (const PairReport& pair : pairs) {
    const RankFacts& first = ranks[static_cast<std::size_t>(pair.first)];
    const RankFacts& second = ranks[static_cast<std::size_t>(pair.second)];
    const auto link = static_cast<std::size_t>(class_of(first, second));
    if (pair.silence.empty()) {
      classes[link].push_back(pair);
      continue;
    }
    findings.push_back({Verdict::fail, class_names[link],
                        fmt::format("ranks {} ({}) and {} ({}): {}; is one of them dead, or a firewall between them? "
                                    "OMPI_MCA_btl_tcp_if_include=NETWORK/BITS chooses the network",
                                    pair.first, first.host, pair.second, second.host, pair.silence)});
  }
  for (std::size_t link = 0; link < classes.size(); ++link)
    if (!classes[link].empty()) findings.push_back(judge_class(class_names[link], ranks, classes[link]));
  return findings;
}

Finding judge_network(const Ranks& ranks, const std::vector<Connection>& connections) {
  const auto hosts = hosts_of(ranks);
  const RankFacts& first = ranks.front();
  std::vector<std::string> ways;
  if (hosts.size() < ranks.size()) {
    const std::string way = within_host(first);
    if (way.empty() && has(first, "pml_ob1"))
      return {Verdict::warn, "network",
              fmt::format("ranks of one host talk over TCP ({}); let Open MPI use shared memory: take OMPI_MCA_btl and "
                          "--mca btl out, or add vader",
                          fmt::join(first.parts, ", "))};
    ways.push_back((way.empty() ? "unknown" : way) + " on a host");
  }
  if (hosts.size() > 1) ways.push_back(between_hosts(first, connections) + " between hosts");
  return {Verdict::ok, "network", fmt::format("{}", fmt::join(ways, ", "))};
}

Findings judge_memory(const Ranks& ranks, const Demand& demand) {
  Findings findings;
  double most = 0;
  for (const HostRanks& host : hosts_of(ranks)) {
    const double needed = static_cast<double>(host.ranks.size()) * demand.rank_bytes;
    const double left = ranks[static_cast<std::size_t>(host.ranks.front())].memory;
    most = std::max(most, needed);
    if (needed > left)
      findings.push_back({Verdict::warn, "memory",
                          fmt::format("{}: its ranks need about {}, and {} are free; use more hosts, a larger "
                                      "parallel.tensor or parallel.pipeline, or a smaller train.micro_batch",
                                      host.host, format_bytes(needed), format_bytes(left))});
  }
  if (findings.empty())
    findings.push_back({Verdict::ok, "memory",
                        fmt::format("{} parameters need about {} a rank, {} a host; {} are free",
                                    format_count(static_cast<double>(demand.parameters)),
                                    format_bytes(demand.rank_bytes), format_bytes(most),
                                    format_bytes(std::ranges::min_element(ranks, {}, &RankFacts::memory)->memory))});
  return findings;
}

Finding judge_space(const Space& space, const std::optional<Demand>& demand, const CheckpointOptions& options) {
  const std::string free = format_bytes(space.free_bytes) + " free";
  if (!demand) return {Verdict::ok, "space", free + "; with data.train or model.vocabulary, compared to a checkpoint"};
  const double one = demand->checkpoint_bytes;
  const std::string found = fmt::format("{}, a checkpoint takes {}", free, format_bytes(one));
  const double room = std::floor(space.free_bytes / one);
  if (room < 1)
    return {
        Verdict::fail, "space",
        fmt::format("checkpoint.directory={}: {}; free some, or choose another", options.directory.string(), found)};
  // While one is being written, those that are kept are all there still.
  const double wanted = std::max(0, options.keep - space.checkpoints) + 1;
  if (options.keep > 0 && room < wanted)
    return {Verdict::warn, "space",
            fmt::format("{}: room for {:.0f}, but checkpoint.keep={} needs {:.0f}; keep fewer, or free some", found,
                        room, options.keep, wanted)};
  return {Verdict::ok, "space", fmt::format("{}: room for {:.0f}", found, room)};
}

}  // namespace trireme
