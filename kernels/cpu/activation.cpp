#include "kernels/cpu/cpu_backend.h"
#include "kernels/error.h"

namespace trireme {

void CpuBackend::activate(Activation, const Tensor&, Tensor) { fail("activate: being written"); }

void CpuBackend::activate_backward(Activation, const Tensor&, const Tensor&, Tensor) {
  fail("activate_backward: being written");
}

void CpuBackend::swiglu(const Tensor&, Tensor) { fail("swiglu: being written"); }

void CpuBackend::swiglu_backward(const Tensor&, const Tensor&, Tensor) { fail("swiglu_backward: being written"); }

void CpuBackend::softmax(const Tensor&, Tensor) { fail("softmax: being written"); }

}  // namespace trireme
