// What a rank knows about itself and its host, to be compared on rank 0.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/doctor/launch.h"
#include "app/doctor/libraries.h"
#include "comm/mpi/world.h"

namespace trireme {

struct RankFacts {
  std::string host;
  int local_rank = 0;
  Launch launch;
  std::vector<int> cores;       ///< physical cores that the rank is bound to
  std::vector<int> host_cores;  ///< those that its launcher may use on this host
  double core_quota = 0;        ///< cores' worth of time that the control group allows the host's ranks; 0: no limit
  int threads = 1;
  double memory = 0;               ///< bytes that the host, or the control group, has left
  double shared_memory = 0;        ///< bytes free in /dev/shm
  std::int64_t open_files = 0;     ///< limits of this process
  double locked_memory = 0;        ///< bytes; negative: no limit
  bool infiniband = false;         ///< the host has such a device
  std::vector<std::string> parts;  ///< components of Open MPI in use: "pml_ob1", "btl_tcp"
  /// On rank 0 all of them, elsewhere those that differ from rank 0's.
  std::vector<LoadedLibrary> libraries;

  // For `trireme doctor` alone.
  int gpus = 0;             ///< usable on this host
  bool gpu_device = false;  ///< the host has a GPU's device file
  std::string data_size;    ///< of data.train, "12345 tokens"; empty: not known
  std::string data_error;   ///< why it cannot be opened; empty: it can, or none was asked for
};

/// Of this rank. Costs a few milliseconds. `libraries` are all of them.
RankFacts own_facts(const World& world);

std::string to_text(const RankFacts& facts);
RankFacts facts_of(const std::string& text);
std::string to_text(const std::vector<LoadedLibrary>& libraries);
std::vector<LoadedLibrary> libraries_of(const std::string& text);

}  // namespace trireme
