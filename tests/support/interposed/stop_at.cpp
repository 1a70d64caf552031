// Preloaded into a rank: stops the process (SIGSTOP) at a call of MPI that TRIREME_STOP_AT names, "MPI_Isend:3" for the
// third. MPI's profiling interface lets the function of that name be ours.
#include <csignal>
#include <cstdlib>
#include <string>

#include "comm/mpi/checked.h"

namespace {

void stop_at(const std::string& function, int call) {
  const char* wanted = std::getenv("TRIREME_STOP_AT");
  if (wanted != nullptr && function + ":" + std::to_string(call) == wanted) std::raise(SIGSTOP);
}

}  // namespace

extern "C" {

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm* made) {
  static int calls = 0;
  stop_at("MPI_Comm_split_type", ++calls);
  return PMPI_Comm_split_type(comm, type, key, info, made);
}

int MPI_Ibcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm comm, MPI_Request* request) {
  static int calls = 0;
  stop_at("MPI_Ibcast", ++calls);
  return PMPI_Ibcast(data, count, type, root, comm, request);
}

int MPI_Isend(const void* data, int count, MPI_Datatype type, int peer, int tag, MPI_Comm comm, MPI_Request* request) {
  static int calls = 0;
  stop_at("MPI_Isend", ++calls);
  return PMPI_Isend(data, count, type, peer, tag, comm, request);
}

}  // extern "C"
