#include "kernels/cpu/cpu_backend.h"

#include <omp.h>

#include <cstring>

#include "kernels/cpu/state.h"
#include "kernels/error.h"

namespace trireme {
CpuBackend::CpuBackend(int threads) : state_(std::make_unique<State>()) {
  state_->threads = threads > 0 ? threads : omp_get_max_threads();
  omp_set_num_threads(state_->threads);
  state_->pool = std::make_unique<MemoryPool>(make_host_memory());
}

CpuBackend::~CpuBackend() = default;

std::string CpuBackend::description() const {
  return fmt::format("CPU, {}, {} thread{}", OneDnn::instruction_set(), state_->threads,
                     state_->threads == 1 ? "" : "s");
}

MemoryPool& CpuBackend::pool() { return *state_->pool; }

void CpuBackend::upload(const void* host, Tensor device) { std::memcpy(device.raw(), host, device.bytes()); }

void CpuBackend::download(const Tensor& device, void* host) { std::memcpy(host, device.raw(), device.bytes()); }

std::unique_ptr<Backend> make_cpu_backend(int threads) { return std::make_unique<CpuBackend>(threads); }

}  // namespace trireme
