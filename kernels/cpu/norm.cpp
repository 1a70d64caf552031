#include "kernels/cpu/cpu_backend.h"
#include "kernels/error.h"

namespace trireme {

void CpuBackend::norm(const NormArgs&) { fail("norm: being written"); }

void CpuBackend::norm_backward_input(const NormBackwardInputArgs&) { fail("norm_backward_input: being written"); }

void CpuBackend::norm_backward_weight(const NormBackwardWeightArgs&) { fail("norm_backward_weight: being written"); }

}  // namespace trireme
