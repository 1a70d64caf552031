// Takes the place of the CUDA driver where there is none, so that cuDNN compiles its kernels: it loads what cuDNN hands
// it without a look, and has no device. Every name that cuDNN asks for is here.
namespace {
constexpr int success = 0, no_device = 100;
int something = 0;
}  // namespace

#define MAKES(name)                 \
  extern "C" int name(void** out) { \
    *out = &something;              \
    return success;                 \
  }
#define SUCCEEDS(name) \
  extern "C" int name() { return success; }
#define FAILS(name) \
  extern "C" int name() { return no_device; }

// NOLINTBEGIN(readability-identifier-naming): the driver's names
MAKES(cuLibraryLoadData)
MAKES(cuLibraryGetKernel)
MAKES(cuModuleGetFunction)
MAKES(cuModuleLoadData)
MAKES(cuModuleLoadDataEx)
MAKES(cuModuleLoadFatBinary)
SUCCEEDS(cuFuncSetAttribute)
SUCCEEDS(cuKernelSetAttribute)
SUCCEEDS(cuLibraryUnload)
SUCCEEDS(cuModuleUnload)
FAILS(cuCtxGetCurrent)
FAILS(cuCtxGetDevice)
FAILS(cuCtxGetLimit)
FAILS(cuCtxPopCurrent)
FAILS(cuCtxPushCurrent)
FAILS(cuDeviceGet)
FAILS(cuDeviceGetAttribute)
FAILS(cuDeviceGetCount)
FAILS(cuDevicePrimaryCtxRelease)
FAILS(cuDevicePrimaryCtxReset)
FAILS(cuDevicePrimaryCtxRetain)
FAILS(cuDriverGetVersion)
FAILS(cuFuncGetAttribute)
FAILS(cuGetErrorName)
FAILS(cuGetErrorString)
FAILS(cuGetProcAddress_v2)
FAILS(cuInit)
FAILS(cuKernelGetAttribute)
FAILS(cuKernelGetFunction)
FAILS(cuLaunchCooperativeKernel)
FAILS(cuLaunchKernel)
FAILS(cuLaunchKernelEx)
FAILS(cuLibraryLoadFromFile)
FAILS(cuLinkAddData)
FAILS(cuLinkAddData_v2)
FAILS(cuLinkAddFile_v2)
FAILS(cuLinkComplete)
FAILS(cuLinkCreate)
FAILS(cuLinkCreate_v2)
FAILS(cuLinkDestroy)
FAILS(cuMemcpyDtoH_v2)
FAILS(cuModuleGetGlobal_v2)
FAILS(cuOccupancyMaxActiveBlocksPerMultiprocessor)
FAILS(cuOccupancyMaxPotentialClusterSize)
FAILS(cuStreamGetCtx)
FAILS(cuStreamSynchronize)
FAILS(cuTensorMapEncodeTiled)
// NOLINTEND(readability-identifier-naming)
