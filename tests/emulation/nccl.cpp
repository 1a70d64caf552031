// The functions of NCCL that this program calls, for one rank on host memory: collectives copy, what it sends to itself
// it receives, messages to other ranks are only noted. A communicator that is still in progress refuses to be used.
#include <fmt/format.h>
#include <nccl.h>

#include <cstring>
#include <deque>
#include <functional>
#include <utility>

#include "tests/emulation/emulation.h"
#include "tests/emulation/nccl_script.h"

namespace {

using trireme::emulation::nccl_script;
using trireme::emulation::NcclScript;

/// A message to or from this rank itself.
struct Part {
  void* data;
  std::size_t bytes;
  cudaStream_t stream;
};

}  // namespace

struct ncclComm {
  int ranks, rank;
  int polls_left;
  bool finalized = false;
  std::vector<std::function<void()>> work;  ///< of the calls in progress
  std::deque<Part> sends, receives;         ///< of the group

  void answer_later(int polls) {
    polls_left = polls;
    if (polls == 0) run();
  }
  void run() {
    for (const auto& each : std::exchange(work, {})) each();
  }
};

namespace {

int depth = 0;
ncclComm* grouped = nullptr;

std::size_t size_of(ncclDataType_t type) {
  return type == ncclFloat64 ? 8 : type == ncclFloat32 || type == ncclInt32 ? 4 : 2;
}

void copy(cudaStream_t stream, void* to, const void* from, std::size_t bytes) {
  trireme::emulation::enqueue(stream, [=] { std::memmove(to, from, bytes); });
}

/// Pairs what a group sends to itself with what it receives, in order; false where they do not fit.
bool pair_up(ncclComm* comm) {
  bool fits = comm->sends.size() == comm->receives.size();
  while (fits && !comm->sends.empty()) {
    const Part from = comm->sends.front();
    const Part to = comm->receives.front();
    comm->sends.pop_front();
    comm->receives.pop_front();
    fits = from.bytes == to.bytes;
    comm->work.emplace_back([=] { copy(to.stream, to.data, from.data, from.bytes); });
  }
  comm->sends.clear();
  comm->receives.clear();
  return fits;
}

/// One operation, alone or in a group.
ncclResult_t operate(ncclComm* comm, std::string call, std::function<void()> work) {
  if (const ncclResult_t refused = std::exchange(nccl_script().refuses, ncclSuccess)) return refused;
  if (comm->polls_left > 0 || comm->finalized) return ncclInvalidArgument;
  nccl_script().calls.push_back(std::move(call));
  if (work) comm->work.push_back(std::move(work));
  if (depth > 0) {
    grouped = comm;
    return ncclSuccess;
  }
  comm->answer_later(nccl_script().polls);
  return comm->polls_left > 0 ? ncclInProgress : ncclSuccess;
}

ncclResult_t copying(const char* name, const void* from, void* to, std::size_t count, ncclDataType_t type, int place,
                     ncclComm* comm, cudaStream_t stream) {
  const std::size_t bytes = count * size_of(type);
  auto* there = static_cast<std::byte*>(to) + static_cast<std::size_t>(place) * bytes;
  return operate(comm, fmt::format("{} {}", name, count), [=] { copy(stream, there, from, bytes); });
}

}  // namespace

namespace trireme::emulation {

NcclScript& nccl_script() {
  static NcclScript script;
  return script;
}

}  // namespace trireme::emulation

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id, 7, sizeof(*id));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (config->blocking != 0 || id.internal[0] != 7 || id.internal[127] != 7) return ncclInvalidArgument;
  nccl_script().calls.emplace_back("init");
  ++nccl_script().communicators;
  *comm = new ncclComm{ranks, rank, nccl_script().polls, false, {}, {}, {}};
  return (*comm)->polls_left > 0 ? ncclInProgress : ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  if (comm->polls_left > 0 || comm->finalized) return ncclInvalidArgument;
  nccl_script().calls.emplace_back("finalize");
  comm->finalized = true;
  comm->polls_left = nccl_script().polls_of_finalize;
  return comm->polls_left > 0 ? ncclInProgress : ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm->polls_left > 0) return ncclInvalidArgument;
  nccl_script().calls.emplace_back("destroy");
  --nccl_script().communicators;
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  nccl_script().calls.emplace_back("abort");
  --nccl_script().communicators;
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  if (comm->polls_left > 0) {
    if (comm->polls_left != NcclScript::for_ever) --comm->polls_left;
    if (comm->polls_left == 0) comm->run();
    *error = ncclInProgress;
  } else {
    *error = nccl_script().background;
  }
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "remote process exited or there was a network error" : "emulated NCCL error";
}

const char* ncclGetLastError(ncclComm_t /*comm*/) { return nccl_script().last_error.c_str(); }

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (depth == 0) return ncclInvalidUsage;
  ncclComm* comm = std::exchange(grouped, nullptr);
  if (--depth > 0 || comm == nullptr) return ncclSuccess;
  if (!pair_up(comm)) return ncclInvalidUsage;
  comm->answer_later(nccl_script().polls);
  return comm->polls_left > 0 ? ncclInProgress : ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  const char* name = op == ncclSum ? "sum" : op == ncclMax ? "maximum" : "minimum";
  return copying(name, sendbuff, recvbuff, count, type, 0, comm, stream);
}

ncclResult_t ncclReduceScatter(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t type,
                               ncclRedOp_t /*op*/, ncclComm_t comm, cudaStream_t stream) {
  return copying("reduce_scatter", sendbuff, recvbuff, count, type, 0, comm, stream);
}

ncclResult_t ncclAllGather(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  return copying("all_gather", sendbuff, recvbuff, count, type, comm->rank, comm, stream);
}

ncclResult_t ncclBroadcast(const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  if (root >= comm->ranks) return ncclInvalidArgument;
  return copying("broadcast", sendbuff, recvbuff, count, type, 0, comm, stream);
}

ncclResult_t ncclSend(const void* sendbuff, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  if (depth == 0) return ncclInvalidUsage;  // alone it could deadlock
  if (peer == comm->rank) comm->sends.push_back({const_cast<void*>(sendbuff), count * size_of(type), stream});
  return operate(comm, fmt::format("send {} to {}", count, peer), {});
}

ncclResult_t ncclRecv(void* recvbuff, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  if (depth == 0) return ncclInvalidUsage;
  if (peer == comm->rank) comm->receives.push_back({recvbuff, count * size_of(type), stream});
  return operate(comm, fmt::format("receive {} from {}", count, peer), {});
}
