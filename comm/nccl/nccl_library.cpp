// NCCL's functions, forwarded to the library that is loaded when the first of them is called.
#include <nccl.h>

#include "kernels/forward.h"

namespace {

trireme::Library& library() {
  static auto& nccl = *new trireme::Library({.names = {"libnccl.so.2"},
                                             .wheel = "nccl",
                                             .advice = "install NCCL: the package libnccl2, or the Python wheel "
                                                       "nvidia-nccl-cu13 (cu12 for CUDA 12)"});
  return nccl;
}

}  // namespace

ncclResult_t ncclGetVersion(int* version) { TRIREME_FORWARD(ncclGetVersion, version); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) { TRIREME_FORWARD(ncclGetUniqueId, id); }

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  TRIREME_FORWARD(ncclCommInitRankConfig, comm, ranks, id, rank, config);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) { TRIREME_FORWARD(ncclCommFinalize, comm); }

ncclResult_t ncclCommDestroy(ncclComm_t comm) { TRIREME_FORWARD(ncclCommDestroy, comm); }

ncclResult_t ncclCommAbort(ncclComm_t comm) { TRIREME_FORWARD(ncclCommAbort, comm); }

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  TRIREME_FORWARD(ncclCommGetAsyncError, comm, error);
}

const char* ncclGetErrorString(ncclResult_t result) { TRIREME_FORWARD(ncclGetErrorString, result); }

const char* ncclGetLastError(ncclComm_t comm) { TRIREME_FORWARD(ncclGetLastError, comm); }

ncclResult_t ncclGroupStart() { TRIREME_FORWARD(ncclGroupStart); }

ncclResult_t ncclGroupEnd() { TRIREME_FORWARD(ncclGroupEnd); }

ncclResult_t ncclAllReduce(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  TRIREME_FORWARD(ncclAllReduce, sendbuff, recvbuff, count, type, op, comm, stream);
}

ncclResult_t ncclReduceScatter(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
  TRIREME_FORWARD(ncclReduceScatter, sendbuff, recvbuff, count, type, op, comm, stream);
}

ncclResult_t ncclAllGather(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  TRIREME_FORWARD(ncclAllGather, sendbuff, recvbuff, count, type, comm, stream);
}

ncclResult_t ncclBroadcast(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  TRIREME_FORWARD(ncclBroadcast, sendbuff, recvbuff, count, type, root, comm, stream);
}

ncclResult_t ncclSend(const void* sendbuff, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  TRIREME_FORWARD(ncclSend, sendbuff, count, type, peer, comm, stream);
}

ncclResult_t ncclRecv(void* recvbuff, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  TRIREME_FORWARD(ncclRecv, recvbuff, count, type, peer, comm, stream);
}
