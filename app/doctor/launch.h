// What started this process, and how the processes of its job find each other.
#pragma once

#include <map>
#include <string>

namespace trireme {

using Environment = std::map<std::string, std::string>;

struct Launch {
  std::string launcher;         ///< "mpirun", "mpirun in Slurm job 17", "srun in Slurm job 17"; empty: none
  std::string process_manager;  ///< "PMIx 4.2.2", "PMI"; empty: none
  int processes = 1;            ///< that the launcher started
  int slurm_tasks = 1;          ///< that the Slurm job around this process was given
};

/// As this process found its environment when it started: MPI adds to it.
Environment starting_environment();
Launch launch_of(const Environment& environment);

}  // namespace trireme
