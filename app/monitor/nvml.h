// What NVIDIA's management library tells of this host's GPUs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

/// What a GPU does not tell is absent.
struct GpuFigures {
  std::string index;  ///< as nvidia-smi counts
  std::string uuid, name;
  std::optional<double> utilization;  ///< share of the last sampling period in which any kernel ran
  std::optional<double> memory_bytes, memory_used_bytes;
  std::optional<double> power_watts, temperature_celsius, clock_hertz;
};

/// Loads libnvidia-ml when it is made; without it, or without a GPU, there are no figures. Used by one thread at a
/// time.
class Nvml {
 public:
  /// `visible`: CUDA_VISIBLE_DEVICES, null where it is not set: GPUs that are not named there are left out.
  explicit Nvml(const char* visible);
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  std::vector<GpuFigures> read() const;

 private:
  struct State;
  std::unique_ptr<State> state_;  ///< null where there is no GPU
};

/// Whether CUDA_VISIBLE_DEVICES names a GPU: by index, or by the beginning of its UUID.
bool is_visible(std::string_view visible, std::string_view index, std::string_view uuid);

/// Dense bf16 products of a GPU of this name, in FLOP/s, from its data sheet; nothing where it is not in our list.
std::optional<double> peak_bf16_flops(std::string_view name);

}  // namespace trireme
