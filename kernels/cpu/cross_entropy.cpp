#include "kernels/cpu/cpu_backend.h"
#include "kernels/error.h"

namespace trireme {

void CpuBackend::cross_entropy_statistics(const CrossEntropyStatisticsArgs&) {
  fail("cross_entropy_statistics: being written");
}

void CpuBackend::cross_entropy_loss(const CrossEntropyLossArgs&) { fail("cross_entropy_loss: being written"); }

void CpuBackend::cross_entropy_gradient(const CrossEntropyGradientArgs&) {
  fail("cross_entropy_gradient: being written");
}

}  // namespace trireme
