#include "app/monitor/nvml.h"

#include <algorithm>
#include <array>
#include <ranges>

#include "kernels/error.h"
#include "kernels/library.h"

namespace trireme {
namespace {

// The few declarations of NVML that are needed, as its reference manual has them.
using Device = void*;
struct Utilization {
  unsigned gpu, memory;  // percent
};
struct Memory {
  unsigned long long total, free, used;  // bytes
};
constexpr int success = 0;
constexpr unsigned temperature_of_gpu = 0;
constexpr unsigned clock_of_processors = 1;
constexpr unsigned name_length = 96;

struct Functions {
  explicit Functions(Library& library) {
    load(library, init, "nvmlInit_v2");
    load(library, shutdown, "nvmlShutdown");
    load(library, count, "nvmlDeviceGetCount_v2");
    load(library, handle, "nvmlDeviceGetHandleByIndex_v2");
    load(library, uuid, "nvmlDeviceGetUUID");
    load(library, name, "nvmlDeviceGetName");
    load(library, utilization, "nvmlDeviceGetUtilizationRates");
    load(library, memory, "nvmlDeviceGetMemoryInfo");
    load(library, power, "nvmlDeviceGetPowerUsage");
    load(library, temperature, "nvmlDeviceGetTemperature");
    load(library, clock, "nvmlDeviceGetClockInfo");
  }

  int (*init)();
  int (*shutdown)();
  int (*count)(unsigned*);
  int (*handle)(unsigned, Device*);
  int (*uuid)(Device, char*, unsigned);
  int (*name)(Device, char*, unsigned);
  int (*utilization)(Device, Utilization*);
  int (*memory)(Device, Memory*);
  int (*power)(Device, unsigned*);  // milliwatts
  int (*temperature)(Device, unsigned, unsigned*);
  int (*clock)(Device, unsigned, unsigned*);  // MHz

 private:
  template <typename Function>
  static void load(Library& library, Function& function, const char* symbol) {
    function = reinterpret_cast<Function>(library.symbol(symbol));
  }
};

std::string text_of(int (*function)(Device, char*, unsigned), Device device) {
  std::array<char, name_length> text{};
  return function(device, text.data(), name_length) == success ? text.data() : "";
}

GpuFigures figures_of(const Functions& nvml, Device device) {
  GpuFigures gpu;
  Utilization utilization{};
  Memory memory{};
  unsigned value = 0;
  if (nvml.utilization(device, &utilization) == success) gpu.utilization = utilization.gpu / 100.0;
  if (nvml.memory(device, &memory) == success) {
    gpu.memory_bytes = static_cast<double>(memory.total);
    gpu.memory_used_bytes = static_cast<double>(memory.used);
  }
  if (nvml.power(device, &value) == success) gpu.power_watts = value / 1e3;
  if (nvml.temperature(device, temperature_of_gpu, &value) == success) gpu.temperature_celsius = value;
  if (nvml.clock(device, clock_of_processors, &value) == success) gpu.clock_hertz = value * 1e6;
  return gpu;
}

}  // namespace

struct Nvml::State {
  struct Gpu {
    Device device;
    std::string index, uuid, name;
  };

  Library library{{.names = {"libnvidia-ml.so.1"}, .wheel = "nvml", .advice = "it comes with NVIDIA's driver"}};
  Functions functions{library};
  std::vector<Gpu> gpus;
};

Nvml::Nvml(const char* visible) {
  try {
    state_ = std::make_unique<State>();
  } catch (const Error&) {  // no driver here, or one too old to tell
    return;
  }
  const Functions& nvml = state_->functions;
  if (nvml.init() != success) {
    state_.reset();
    return;
  }
  unsigned count = 0;
  if (nvml.count(&count) != success) count = 0;
  for (unsigned number = 0; number < count; ++number) {
    State::Gpu gpu;
    if (nvml.handle(number, &gpu.device) != success) continue;
    gpu.index = fmt::format("{}", number);
    gpu.uuid = text_of(nvml.uuid, gpu.device);
    gpu.name = text_of(nvml.name, gpu.device);
    if (visible == nullptr || is_visible(visible, gpu.index, gpu.uuid)) state_->gpus.push_back(std::move(gpu));
  }
}

Nvml::~Nvml() {
  if (state_) state_->functions.shutdown();
}

std::vector<GpuFigures> Nvml::read() const {
  std::vector<GpuFigures> all;
  if (!state_) return all;
  for (const State::Gpu& gpu : state_->gpus) {
    GpuFigures& figures = all.emplace_back(figures_of(state_->functions, gpu.device));
    figures.index = gpu.index;
    figures.uuid = gpu.uuid;
    figures.name = gpu.name;
  }
  return all;
}

bool is_visible(std::string_view visible, std::string_view index, std::string_view uuid) {
  return std::ranges::any_of(visible | std::views::split(','), [&](const auto& part) {
    const std::string_view name(part.begin(), part.end());
    return !name.empty() && (name == index || (name.starts_with("GPU-") && uuid.starts_with(name)));
  });
}

std::optional<double> peak_bf16_flops(std::string_view name) {
  struct Sheet {
    std::string_view part;
    double flops;
  };
  // The first that the name contains.
  constexpr std::array sheets = {Sheet{"B200", 2250e12},     Sheet{"H200", 989e12}, Sheet{"H100 PCIe", 756e12},
                                 Sheet{"H100 NVL", 835e12},  Sheet{"H100", 989e12}, Sheet{"H800", 989e12},
                                 Sheet{"A100", 312e12},      Sheet{"A800", 312e12}, Sheet{"A30", 165e12},
                                 Sheet{"A40", 149.7e12},     Sheet{"L40S", 362e12}, Sheet{"L4", 121e12},
                                 Sheet{"RTX 4090", 165.2e12}};
  const auto* found =
      std::ranges::find_if(sheets, [&](const Sheet& sheet) { return name.find(sheet.part) != name.npos; });
  if (found == sheets.end()) return {};
  return found->flops;
}

}  // namespace trireme
