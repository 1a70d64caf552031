#include "kernels/cpu/cpu_backend.h"

#include <omp.h>

#include <cstdlib>
#include <cstring>

#include "kernels/cpu/state.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// Host memory on cache-line boundaries; large blocks on pages.
class HostMemory final : public MemorySource {
 public:
  void* allocate(std::size_t bytes) override {
    const std::size_t alignment = bytes >= page ? page : line;
    void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (memory == nullptr) fail("out of memory: {} bytes of host memory wanted", bytes);
    return memory;
  }
  void release(void* memory, std::size_t) noexcept override { std::free(memory); }

 private:
  static constexpr std::size_t line = 64;
  static constexpr std::size_t page = 4096;
};

}  // namespace

CpuBackend::CpuBackend(int threads) : state_(std::make_unique<State>()) {
  state_->threads = threads > 0 ? threads : omp_get_max_threads();
  omp_set_num_threads(state_->threads);
  state_->pool = std::make_unique<MemoryPool>(std::make_unique<HostMemory>());
}

CpuBackend::~CpuBackend() = default;

std::string CpuBackend::description() const { return fmt::format("CPU, {} threads", state_->threads); }

MemoryPool& CpuBackend::pool() { return *state_->pool; }

void CpuBackend::upload(const void* host, Tensor device) { std::memcpy(device.raw(), host, device.bytes()); }

void CpuBackend::download(const Tensor& device, void* host) { std::memcpy(host, device.raw(), device.bytes()); }

std::unique_ptr<Backend> make_cpu_backend(int threads) { return std::make_unique<CpuBackend>(threads); }

}  // namespace trireme
