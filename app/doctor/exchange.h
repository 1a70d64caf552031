// What ranks do together to be examined. All are collective; findings are rank 0's, elsewhere there are none.
#pragma once

#include <chrono>

#include "app/doctor/judge.h"
#include "comm/patient.h"

namespace trireme {

/// How long a rank waits for others. Rank 0 speaks for all when one is silent, so the others give it time to.
struct Patience {
  double seconds = 10;
  Deadline of(const World& world) const { return after(world.rank() == 0 ? seconds : 6 * seconds); }
  static Deadline after(double seconds) {
    return std::chrono::steady_clock::now() +
           std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
  }
};

/// Every rank's text on rank 0. Throws Unanswered, naming the ranks that are silent.
std::vector<std::string> gather_all(World& world, const std::string& text, Patience patience);

/// Everyone's facts on rank 0, empty elsewhere. `mine.libraries` are all; of other ranks only what differs is kept.
Ranks gather_facts(World& world, RankFacts mine, Patience patience);

/// On every rank: the first rank of each host, rank 0 first. `ranks` are rank 0's.
std::vector<int> first_ranks(World& world, const Ranks& ranks, Patience patience);

/// Clock of each other host against rank 0's.
std::vector<ClockReading> read_clocks(World& world, const Ranks& ranks, const std::vector<int>& firsts,
                                      Patience patience);

struct RingReport {
  std::vector<PairReport> pairs;
  std::vector<Connection> connections;  ///< of all ranks to other hosts
};
/// A ring of sends: every rank with the next one, all pairs that share no rank at the same time. Once a pair was
/// silent, the job can only be ended.
RingReport measure_ring(World& world, Communicator& ranks, Backend& backend, Patience patience);

/// Whether the checkpoint directory can be written, all hosts see what the others write there and, where asked for, at
/// what speed all hosts together write.
Findings check_directory(World& world, const std::vector<int>& firsts, const std::filesystem::path& directory,
                         bool with_speed, const std::optional<Demand>& demand, Patience patience);

}  // namespace trireme
