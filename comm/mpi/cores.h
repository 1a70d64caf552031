// Which cores this process may run on.
#pragma once

#include <sched.h>

#include <vector>

namespace trireme {

/// Hardware threads that a process (0: this one) is bound to. Fails where there is no such process.
cpu_set_t bound_cpus(int process = 0);
/// Physical cores among them, each by the number of its first hardware thread, ascending.
std::vector<int> physical_cores(const cpu_set_t& cpus);

}  // namespace trireme
