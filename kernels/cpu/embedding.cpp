#include "kernels/cpu/cpu_backend.h"
#include "kernels/error.h"

namespace trireme {

void CpuBackend::embedding(const EmbeddingArgs&) { fail("embedding: being written"); }

void CpuBackend::embedding_backward(const EmbeddingBackwardArgs&) { fail("embedding_backward: being written"); }

}  // namespace trireme
