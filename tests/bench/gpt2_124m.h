// GPT-2 124M (Radford et al. 2019) as it is measured: the model, the size of a step, and the matrix products in it.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/tensor.h"
#include "model/arch/gpt.h"

namespace trireme::bench {

inline constexpr std::int64_t samples = 4, sample_tokens = 256, step_tokens = samples * sample_tokens;

inline GptConfig gpt2_124m() {
  return {.layers = 12, .hidden = 768, .heads = 12, .context = 1024, .vocabulary = 50304};  // dropout is off
}

/// A linear layer, out [rows, outputs] = x [rows, inputs] weight [outputs, inputs]', `count` times in the model.
struct LinearShape {
  const char* name;
  std::int64_t outputs, inputs;
  int count;
  /// Of one product: forward, input gradient and weight gradient cost the same.
  double flops() const { return 2.0 * static_cast<double>(step_tokens * outputs * inputs); }
};

inline constexpr std::array<LinearShape, 5> linear_shapes = {{{"qkv", 2304, 768, 12},
                                                              {"projection", 768, 768, 12},
                                                              {"up", 3072, 768, 12},
                                                              {"down", 768, 3072, 12},
                                                              {"head", 50304, 768, 1}}};

/// Of all linear layers in one training step.
inline double matmul_flops_per_step() {
  double sum = 0;
  for (const LinearShape& shape : linear_shapes) sum += 3 * shape.count * shape.flops();
  return sum;
}

struct Options {
  std::string precision;
  int threads = 0, steps = 0, warmup = 0;
  DType type() const { return precision == "bf16" ? DType::bf16 : DType::f32; }
};

inline Options parse(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  po::options_description known;
  known.add_options()("precision", po::value(&options.precision)->default_value("fp32"))(
      "threads", po::value(&options.threads)->default_value(2))("steps", po::value(&options.steps)->default_value(5))(
      "warmup", po::value(&options.warmup)->default_value(2));
  po::variables_map found;
  po::store(po::parse_command_line(argc, argv, known), found);
  po::notify(found);
  if (options.precision != "fp32" && options.precision != "bf16") {
    refuse("--precision: found '{}', expected fp32 or bf16", options.precision);
  }
  if (options.steps < 1) refuse("--steps: found {}, expected at least 1", options.steps);
  return options;
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

inline double peak_rss_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace trireme::bench
