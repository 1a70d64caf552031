// MPI as this program sees it: starts it, tells who and where this process is, makes communicators.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace trireme {

/// Elements that MPI is given at once; what is longer goes in pieces.
inline constexpr std::int64_t longest_message = std::int64_t{1} << 22;

/// Owns MPI for the life of the process. One object, made first thing in main, and outliving every communicator and
/// request. MPI is called from the thread that made it alone (MPI_THREAD_FUNNELED); other threads may run beside it.
class World {
 public:
  World(int* argc, char*** argv);
  ~World();  ///< finalises MPI; not while an exception passes, as the other ranks would not answer
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const;
  int size() const;
  int local_rank() const;  ///< among the ranks on this host
  int local_size() const;
  const std::string& host() const;
  int cores() const;         ///< physical cores that this rank is bound to
  int core_sharers() const;  ///< ranks of this host bound to any of them, this one included

  /// Communicator of all ranks.
  Communicator& all();
  /// Collective over the world: one communicator for each group of ranks with the same list. Each rank passes the list
  /// that it belongs to, in the order that numbers its ranks. A group of one uses no MPI afterwards.
  std::unique_ptr<Communicator> group(const std::string& name, const std::vector<int>& ranks);

  /// Collective over the ranks of each host: zeroed memory that they share, until the process ends. A null pointer on
  /// all of them where the host does not let them.
  void* shared_memory(std::size_t bytes);

  /// Ends every rank of the job with `status`, which becomes mpirun's. Flushes what was printed. Does not return.
  [[noreturn]] void abort(int status);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// "Open MPI v4.1.4".
std::string mpi_library();

/// Threads for this rank: OMP_NUM_THREADS where set (refused unless it is a positive number), else the cores it is
/// bound to divided by the ranks that share them, at least 1.
int threads_per_rank(const World& world);

}  // namespace trireme
