// A wish to stop, told by a signal.
#pragma once

namespace trireme {

/// While it lives, the first SIGTERM, SIGINT or SIGUSR1 is noted, and another one, a second later or more, ends the
/// process at once. (mpirun passes SIGUSR1 on to its ranks; Slurm sends what --signal names, to all processes.)
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool received() const;
};

}  // namespace trireme
