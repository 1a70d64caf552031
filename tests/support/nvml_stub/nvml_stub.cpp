// Stands for NVIDIA's management library: two GPUs with known figures, the second of which does not tell its power.
#include <cstdio>

namespace {

constexpr int success = 0, invalid_argument = 2, not_supported = 3;
int number_of(void* device) { return *static_cast<int*>(device); }

}  // namespace

extern "C" {

struct Utilization {
  unsigned gpu, memory;
};
struct Memory {
  unsigned long long total, free, used;
};

int nvmlInit_v2() { return success; }
int nvmlShutdown() { return success; }
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return success;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  static int numbers[] = {0, 1};
  if (index > 1) return invalid_argument;
  *device = &numbers[index];
  return success;
}
int nvmlDeviceGetUUID(void* device, char* text, unsigned length) {
  std::snprintf(text, length, "GPU-%d%d%d", number_of(device), number_of(device), number_of(device));
  return success;
}
int nvmlDeviceGetName(void* /*device*/, char* text, unsigned length) {
  std::snprintf(text, length, "NVIDIA H100 80GB HBM3");
  return success;
}
int nvmlDeviceGetUtilizationRates(void* device, Utilization* rates) {
  *rates = {.gpu = number_of(device) == 0 ? 87U : 3U, .memory = 40};
  return success;
}
int nvmlDeviceGetMemoryInfo(void* /*device*/, Memory* memory) {
  *memory = {.total = 80ULL << 30, .free = 30ULL << 30, .used = 50ULL << 30};
  return success;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  *milliwatts = 612500;
  return number_of(device) == 0 ? success : not_supported;
}
int nvmlDeviceGetTemperature(void* /*device*/, unsigned /*sensor*/, unsigned* celsius) {
  *celsius = 61;
  return success;
}
int nvmlDeviceGetClockInfo(void* /*device*/, unsigned /*clock*/, unsigned* megahertz) {
  *megahertz = 1980;
  return success;
}
}
