// What the CPU backend owns. Seen only by its own sources.
#pragma once

#include <memory>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/onednn_convolution.h"

namespace trireme {

struct CpuBackend::State {
  int threads = 1;
  std::unique_ptr<MemoryPool> pool;
  OneDnn onednn;
  OneDnnConvolution onednn_convolution;
};

}  // namespace trireme
