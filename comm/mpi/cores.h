// Which cores this process may run on.
#pragma once

#include <sched.h>

namespace trireme {

/// Hardware threads that this process is bound to.
cpu_set_t bound_cpus();
/// Physical cores among them: hardware threads of one core count once.
int physical_cores(const cpu_set_t& cpus);

}  // namespace trireme
