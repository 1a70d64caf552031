// The TCP connections that this process has to other hosts.
#pragma once

#include <string>
#include <vector>

namespace trireme {

struct Connection {
  std::string interface;      ///< "eth0"; empty where the local address is none of an interface
  std::string local, remote;  ///< addresses, the remote one with its port: "10.0.0.2:1024"
  bool established = false;   ///< false: the other side has not answered yet
  double speed = 0;           ///< of the interface, bits a second; 0 where it does not tell
};

/// Connections of this process whose other end is not this host. Of this process alone, so under mpirun and srun they
/// are MPI's and NCCL's: launchers keep one to their daemon on the same host.
std::vector<Connection> connections_to_other_hosts();

}  // namespace trireme
