#include "comm/mpi/cores.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "kernels/error.h"

namespace trireme {

cpu_set_t bound_cpus(int process) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (sched_getaffinity(process, sizeof(cpus), &cpus) != 0) fail("sched_getaffinity: {}", std::strerror(errno));
  return cpus;
}

std::vector<int> physical_cores(const cpu_set_t& cpus) {
  std::set<int> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &cpus)) continue;
    // The first sibling stands for the core. Where the kernel does not tell, each hardware thread is a core.
    int core = cpu;
    std::ifstream siblings(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    if (int first = 0; siblings >> first) core = first;
    cores.insert(core);
  }
  return {cores.begin(), cores.end()};
}

}  // namespace trireme
