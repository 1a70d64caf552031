// The plugins of Open MPI.
#pragma once

namespace trireme {

/// Keeps what Open MPI has loaded in memory to the end of the process. MPI_Finalize of Open MPI 4.1 unloads its plugins
/// while its own thread may still be in one of them, and a process that had done all its work died of a segmentation
/// fault. Nothing happens with an MPI that has no plugins.
void keep_plugins();

}  // namespace trireme
