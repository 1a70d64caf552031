// MPI as this program sees it: starts it, tells who and where this process is, makes communicators.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace trireme {

/// Owns MPI for the life of the process. One object, made first thing in main.
class World {
 public:
  World(int* argc, char*** argv);
  ~World();  ///< finalises MPI
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const;
  int size() const;
  int local_rank() const;  ///< among the ranks on this host
  int local_size() const;
  const std::string& host() const;

  /// Communicator of all ranks.
  Communicator& all();
  /// Collective over the world: one communicator for each group of ranks with the same list. Each rank passes the list
  /// that it belongs to, in the order that numbers its ranks.
  std::unique_ptr<Communicator> group(const std::string& name, const std::vector<int>& ranks);

  /// Ends every rank of the job with `status`. Does not return.
  [[noreturn]] void abort(int status);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Threads for this rank: OMP_NUM_THREADS where set, else the cores it is bound to divided by the ranks that share
/// them.
int threads_per_rank(const World& world);

}  // namespace trireme
