// GPT-2 (Radford et al. 2019) as it is measured: the sizes, what a program is asked to measure, and how much there is
// to compute.
#pragma once

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/backend.h"
#include "kernels/error.h"
#include "model/arch/gpt.h"

namespace trireme::bench {

inline constexpr std::int64_t vocabulary = 50304, positions = 1024;

struct Gpt2Size {
  std::string_view name;
  int layers, hidden, heads;
  /// dropout is off
  GptConfig config() const {
    return {.layers = layers, .hidden = hidden, .heads = heads, .context = positions, .vocabulary = vocabulary};
  }
};

/// The smallest is none of the paper's: it tries the benchmark itself.
inline constexpr std::array<Gpt2Size, 5> gpt2_sizes = {
    {{"3M", 2, 64, 2}, {"124M", 12, 768, 12}, {"355M", 24, 1024, 16}, {"774M", 36, 1280, 20}, {"1558M", 48, 1600, 25}}};

/// Model FLOPs as Chowdhery et al. 2022 (PaLM, appendix B) count them: what the model asks for, whatever was computed.
struct Flops {
  static constexpr const char* formula =
      "6 N + 12 layers hidden context a token; N: all parameters but positions (the tied embedding once, as the head)";
  static double per_token(const Gpt2Size& size, std::int64_t parameters, std::int64_t context) {
    return 6.0 * static_cast<double>(parameters - positions * size.hidden) +
           12.0 * static_cast<double>(size.layers * size.hidden * context);
  }
};

/// Dense bf16 TFLOP/s of the data sheet; 0 for a device that is not in this list.
inline double data_sheet_tflops(std::string_view device) {
  struct Entry {
    std::string_view name;
    double tflops;
  };
  // The first name that occurs in the device's counts: longer ones go before what they contain.
  static constexpr std::array<Entry, 15> entries = {{{"H200 NVL", 835.5},
                                                     {"H100 NVL", 835.5},
                                                     {"H100 PCIe", 756},
                                                     {"H200", 989.4},
                                                     {"H100", 989.4},
                                                     {"H800 PCIe", 756},
                                                     {"H800", 989.4},
                                                     {"GH200", 989.4},
                                                     {"H20", 148},
                                                     {"B200", 2250},
                                                     {"A100", 312},
                                                     {"A800", 312},
                                                     {"A40", 149.7},
                                                     {"L40S", 362},
                                                     {"L40", 181}}};
  const auto* found = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
    return device.find(entry.name) != std::string_view::npos;
  });
  return found == entries.end() ? 0 : found->tflops;
}

struct Options {
  std::string size, precision, device;
  int threads = 0, steps = 0, warmup = 0;
  std::int64_t micro_batch = 0, context = 0;
  bool fit = false, graph = true, deterministic = true;
  DType type() const { return precision == "bf16" ? DType::bf16 : DType::f32; }
  std::int64_t step_tokens() const { return micro_batch * context; }
  const Gpt2Size& gpt2() const {
    const auto* found =
        std::find_if(gpt2_sizes.begin(), gpt2_sizes.end(), [&](auto& each) { return each.name == size; });
    if (found == gpt2_sizes.end()) refuse("--size: found '{}', expected 3M, 124M, 355M, 774M or 1558M", size);
    return *found;
  }
  std::unique_ptr<Backend> make_backend() const {
    return device == "cuda" ? make_cuda_backend(0, {.deterministic = deterministic}) : make_cpu_backend(threads);
  }
};

inline Options parse(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  po::options_description known;
  const auto add = [&](const char* name, auto& value, auto standard) {
    using Value = std::decay_t<decltype(value)>;
    known.add_options()(name, po::value(&value)->default_value(Value(standard)));
  };
  add("size", options.size, "124M");
  add("precision", options.precision, "fp32");
  add("device", options.device, "cpu");
  add("threads", options.threads, 2);
  add("steps", options.steps, 5);
  add("warmup", options.warmup, 2);
  add("micro-batch", options.micro_batch, 4);
  add("context", options.context, 256);
  add("fit", options.fit, false);                     // on a GPU: a smaller micro-batch where this one does not fit
  add("graph", options.graph, true);                  // on a GPU: steps are recorded once and replayed
  add("deterministic", options.deterministic, true);  // on a GPU: see CudaOptions
  po::variables_map found;
  po::store(po::parse_command_line(argc, argv, known), found);
  po::notify(found);
  if (options.precision != "fp32" && options.precision != "bf16")
    refuse("--precision: found '{}', expected fp32 or bf16", options.precision);
  if (options.device != "cpu" && options.device != "cuda")
    refuse("--device: found '{}', expected cpu or cuda", options.device);
  if (options.steps < 1) refuse("--steps: found {}, expected at least 1", options.steps);
  if (options.micro_batch < 1) refuse("--micro-batch: found {}, expected at least 1", options.micro_batch);
  if (options.context < 1 || options.context > positions)
    refuse("--context: found {}, expected 1 to {}", options.context, positions);
  static_cast<void>(options.gpt2());
  return options;
}

}  // namespace trireme::bench
