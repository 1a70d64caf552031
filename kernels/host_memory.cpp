#include <sys/mman.h>

#include <cstdlib>

#include "kernels/error.h"
#include "kernels/pool.h"

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

std::unique_ptr<MemorySource> make_host_memory() { return std::make_unique<HostMemory>(); }

}  // namespace trireme
