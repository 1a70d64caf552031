// The emulated NCCL: what it is told to do, and what it did. (Not nccl.h: that is NCCL's own.)
#pragma once

#include <nccl.h>

#include <limits>
#include <string>
#include <vector>

namespace trireme::emulation {

/// Every call stays in progress until it has been asked about `polls` times; only then does its work go on the stream.
struct NcclScript {
  static constexpr int for_ever = std::numeric_limits<int>::max();
  int polls = 0;
  int polls_of_finalize = 0;
  ncclResult_t refuses = ncclSuccess;  ///< what the next operation answers, if not success
  ncclResult_t background = ncclSuccess;
  std::string last_error;

  std::vector<std::string> calls;  ///< operations, in order: "send 5 to 1"; and "init", "finalize", "destroy", "abort"
  int communicators = 0;           ///< alive
};
NcclScript& nccl_script();

}  // namespace trireme::emulation
