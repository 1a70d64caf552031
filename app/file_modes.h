// Who may read what this process writes.
#pragma once

namespace trireme {

/// Files get at most the mode 0640 and folders 0750, whatever the umask was; TRIREME_UMASK, in octal, sets another mask
/// (002: the group writes too). Refuses what is no mask. For the start of the process.
void restrict_file_modes();

}  // namespace trireme
