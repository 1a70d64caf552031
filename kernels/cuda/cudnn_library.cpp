// The functions of cuDNN that we call, forwarded to the library that is found at run time.
#include <cudnn.h>

#include "kernels/forward.h"

namespace {

/// Never destroyed: descriptors are given back until the process ends.
trireme::Library& library() {
  static auto* const cudnn = new trireme::Library(
      {.names = {"libcudnn.so.9"},
       .wheel = "cudnn",
       .advice = "install cuDNN 9, its package cudnn9-cuda-13, or the Python wheel nvidia-cudnn-cu13"});
  return *cudnn;
}

}  // namespace

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): cuDNN has names of its own
extern "C" {

size_t cudnnGetVersion() { TRIREME_FORWARD(cudnnGetVersion); }
const char* cudnnGetErrorString(cudnnStatus_t status) { TRIREME_FORWARD(cudnnGetErrorString, status); }
void cudnnGetLastErrorString(char* message, size_t bytes) { TRIREME_FORWARD(cudnnGetLastErrorString, message, bytes); }

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) { TRIREME_FORWARD(cudnnCreate, handle); }
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { TRIREME_FORWARD(cudnnDestroy, handle); }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  TRIREME_FORWARD(cudnnSetStream, handle, stream);
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  TRIREME_FORWARD(cudnnBackendCreateDescriptor, type, descriptor);
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  TRIREME_FORWARD(cudnnBackendDestroyDescriptor, descriptor);
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  TRIREME_FORWARD(cudnnBackendFinalize, descriptor);
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  TRIREME_FORWARD(cudnnBackendSetAttribute, descriptor, name, type, count, values);
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t most, int64_t* count, void* values) {
  TRIREME_FORWARD(cudnnBackendGetAttribute, descriptor, name, type, most, count, values);
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  TRIREME_FORWARD(cudnnBackendExecute, handle, plan, pack);
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
