// What facts about ranks mean: pure functions from what was found to findings. `ranks` are those of the whole world.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/configuration.h"
#include "app/doctor/facts.h"
#include "app/doctor/finding.h"
#include "app/doctor/sockets.h"

namespace trireme {

using Ranks = std::vector<RankFacts>;

struct HostRanks {
  std::string host;
  std::vector<int> ranks;
};
/// In the order of their lowest ranks.
std::vector<HostRanks> hosts_of(const Ranks& ranks);

Finding judge_launcher(const RankFacts& first, int world);
Finding judge_hosts(const Ranks& ranks);
Findings judge_cores(const Ranks& ranks);
Findings judge_versions(const Ranks& ranks);
Findings judge_shared_memory(const Ranks& ranks);
Findings judge_limits(const Ranks& ranks);
Findings judge_gpus(const Ranks& ranks, DeviceChoice wanted);
Findings judge_data(const Ranks& ranks);

/// How far the clock of a host is ahead of rank 0's, in seconds.
struct ClockReading {
  std::string host;
  double ahead = 0;
};
Finding judge_clocks(const std::vector<ClockReading>& readings);

/// What a pair of ranks measured between them.
struct PairReport {
  int first = 0, second = 0;
  double latency = 0, bandwidth = 0;  ///< as LinkSpeed
  std::string silence;                ///< why nothing was measured; empty: it was
};
/// One finding for each class of links, and one for each pair that is silent.
Findings judge_links(const Ranks& ranks, const std::vector<PairReport>& pairs);
/// `connections` are those of all ranks to other hosts.
Finding judge_network(const Ranks& ranks, const std::vector<Connection>& connections);

/// What a model asks of the ranks and the disk.
struct Demand {
  std::int64_t parameters = 0;
  double checkpoint_bytes = 0;
  double rank_bytes = 0;  ///< of memory, on the rank that needs most; about
};
Findings judge_memory(const Ranks& ranks, const Demand& demand);

struct Space {
  double free_bytes = 0;  ///< what incomplete checkpoints hold included
  int checkpoints = 0;    ///< complete ones there
};
Finding judge_space(const Space& space, const std::optional<Demand>& demand, const CheckpointOptions& options);

}  // namespace trireme
