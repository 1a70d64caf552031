// Stands in for the CUDA backend in a build without it.
#include "kernels/backend.h"
#include "kernels/error.h"

namespace trireme {

std::unique_ptr<Backend> make_cuda_backend(int device, const CudaOptions& /*options*/) {
  refuse("train.device=cuda (device {}): this trireme was built without CUDA; use train.device=cpu", device);
}

int cuda_device_count() { return 0; }

}  // namespace trireme
