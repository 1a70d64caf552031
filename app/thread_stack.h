// What can be learnt of a thread or process that does not go on.
#pragma once

#include <sys/types.h>

#include <string>

namespace trireme {

/// Takes SIGUSR2 for stack_of. Afterwards the signal does nothing by itself.
void prepare_stacks();

/// The functions that a thread of this process is in, innermost first, one a line; or why they cannot be told. Names
/// only what the program and its libraries export. From one thread at a time.
std::string stack_of(pid_t thread);

/// What keeps a process of this host from running: "is stopped by a signal", "has ended", "sleeps in the kernel
/// (nfs_wait_bit_killable)"; empty where nothing does.
std::string trouble_of(pid_t process);
/// Whether its other threads may run: false where it has ended or is stopped.
bool can_run(pid_t process);
bool has_ended(pid_t process);

}  // namespace trireme
