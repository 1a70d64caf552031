// A GPU made of host code, so that the CUDA backend can be tested where there is none: our own kernels, compiled as
// plain C++, run thread by thread on fibers; the CUDA runtime's functions and the parts of the vendor libraries that we
// call are defined by the sources in this folder, on host memory.
//
// Streams are queues. What is enqueued runs when something that the host waits for depends on it, or earlier, when a
// seeded coin says so: a missing event or wait shows up as a wrong result. New memory holds NaN.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>

namespace trireme::emulation {

/// Runs `work` in its turn on the stream. While the stream is being captured it becomes a node of the graph instead.
void enqueue(cudaStream_t stream, std::function<void()> work);

/// True while work on this stream is recorded.
bool is_capturing(cudaStream_t stream);

/// The clock that cudaEventElapsedTime reads stands still but for this (call it from enqueued work).
void advance_clock(double milliseconds);

/// Runs a kernel's body for every thread of every block, one block after the other, as fibers. Ends the process where
/// the threads of a block do not all reach a barrier, or a warp operation names lanes that do not exist.
void run_grid(dim3 grid, dim3 block, const std::function<void()>& body);

/// Counters since the start of the process, for tests.
struct Counters {
  long long mallocs = 0;           ///< of device or pinned memory
  long long synchronizations = 0;  ///< waits of the host for a stream, event or the device
  long long graph_launches = 0;
  long long kernels = 0;
};
const Counters& counters();

}  // namespace trireme::emulation
