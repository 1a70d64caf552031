#include "kernels/cpu/cpu_backend.h"
#include "kernels/error.h"

namespace trireme {

void CpuBackend::attention(const AttentionArgs&) { fail("attention: being written"); }

void CpuBackend::attention_backward(const AttentionBackwardArgs&) { fail("attention_backward: being written"); }

void CpuBackend::rotary(const RotaryArgs&) { fail("rotary: being written"); }

}  // namespace trireme
