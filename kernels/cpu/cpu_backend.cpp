#include "kernels/cpu/cpu_backend.h"

#include <omp.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "kernels/cpu/state.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// Host memory on cache-line boundaries; large blocks on huge pages where the system has them to give.
class HostMemory final : public MemorySource {
 public:
  void* allocate(std::size_t bytes) override {
    const bool large = bytes >= 2 * huge_page;
    void* memory = nullptr;
    if (posix_memalign(&memory, large ? huge_page : line, bytes) != 0)
      fail("out of memory: {} bytes of host memory wanted", bytes);
    if (large) madvise(memory, bytes, MADV_HUGEPAGE);  // a hint: without it products are slower, not wrong
    return memory;
  }
  void release(void* memory, std::size_t) noexcept override { std::free(memory); }

 private:
  static constexpr std::size_t line = 64;
  static constexpr std::size_t huge_page = std::size_t{2} << 20;
};

}  // namespace

CpuBackend::CpuBackend(int threads) : state_(std::make_unique<State>()) {
  state_->threads = threads > 0 ? threads : omp_get_max_threads();
  omp_set_num_threads(state_->threads);
  state_->pool = std::make_unique<MemoryPool>(std::make_unique<HostMemory>());
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
