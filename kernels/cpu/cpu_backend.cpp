#include "kernels/cpu/cpu_backend.h"

#include <omp.h>

#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/cpu/state.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// Work is done when it has been asked for.
class CpuTimeline final : public Timeline {
 public:
  void mark(std::size_t number) override {
    if (number >= times_.size()) times_.resize(number + 1);
    times_[number] = Clock::now();
  }
  double seconds(std::size_t from, std::size_t to) const override {
    return std::chrono::duration<double>(times_.at(to) - times_.at(from)).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::time_point> times_;
};

}  // namespace

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

std::unique_ptr<Timeline> CpuBackend::make_timeline() { return std::make_unique<CpuTimeline>(); }

std::unique_ptr<Backend> make_cpu_backend(int threads) { return std::make_unique<CpuBackend>(threads); }

}  // namespace trireme
