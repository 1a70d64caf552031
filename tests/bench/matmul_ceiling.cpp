// GFLOP/s of the backend's matrix products on the shapes of GPT-2 124M and on one large square product; prints one line
// of JSON. `tokens_per_second` is what a training step could reach if it were nothing but these products.
#include <chrono>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/bench/gpt2_124m.h"

namespace trireme::bench {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Least seconds of one product, of at least three and as many as fit a quarter of a second.
double seconds_of(Backend& backend, const MatmulArgs& args) {
  backend.matmul(args);
  double best = std::numeric_limits<double>::infinity();
  const double end = now() + 0.25;
  for (int i = 0; i < 3 || now() < end; ++i) {
    const double begin = now();
    backend.matmul(args);
    backend.synchronize();
    best = std::min(best, now() - begin);
  }
  return best;
}

/// A tensor without zeros or denormals.
Tensor filled(Backend& backend, const Shape& shape, DType type) {
  Tensor values = backend.allocate(shape, DType::f32);
  float value = 0.5F;
  for (float& each : values.values<float>()) each = value = value < 1.5F ? value + 0.001F : 0.5F;
  if (type == DType::f32) return values;
  Tensor out = backend.allocate(shape, type);
  backend.cast(values, out);
  return out;
}

struct LinearSeconds {
  double forward, input_gradient, weight_gradient;
  double sum() const { return forward + input_gradient + weight_gradient; }
};

LinearSeconds measure(Backend& backend, const LinearShape& shape, DType type) {
  const Tensor x = filled(backend, {step_tokens, shape.inputs}, type);
  const Tensor y = filled(backend, {step_tokens, shape.outputs}, type);
  const Tensor weight = filled(backend, {shape.outputs, shape.inputs}, type);
  const Tensor gradient = filled(backend, {shape.outputs, shape.inputs}, DType::f32);
  MatmulArgs forward;
  forward.a = x;
  forward.b = weight;
  forward.out = y;
  forward.transpose_b = true;
  MatmulArgs input_gradient;
  input_gradient.a = y;
  input_gradient.b = weight;
  input_gradient.out = x;
  MatmulArgs weight_gradient;
  weight_gradient.a = y;
  weight_gradient.b = x;
  weight_gradient.out = gradient;
  weight_gradient.transpose_a = true;
  weight_gradient.accumulate = true;
  // The weight gradient first: the others overwrite their operands.
  const double last = seconds_of(backend, weight_gradient);
  return {seconds_of(backend, forward), seconds_of(backend, input_gradient), last};
}

double square_gflops(Backend& backend, DType type) {
  constexpr std::int64_t n = 2048;
  MatmulArgs args;
  args.a = filled(backend, {n, n}, type);
  args.b = filled(backend, {n, n}, type);
  args.out = backend.allocate({n, n}, type);
  args.transpose_b = true;
  return 2e-9 * static_cast<double>(n * n * n) / seconds_of(backend, args);
}

void run(const Options& options) {
  const auto backend = make_cpu_backend(options.threads);
  nlohmann::ordered_json result = {{"precision", options.precision}, {"threads", options.threads}};
  double step_seconds = 0;
  for (const LinearShape& shape : linear_shapes) {
    const LinearSeconds seconds = measure(*backend, shape, options.type());
    const double gflop = 1e-9 * shape.flops();
    result["gflops"][shape.name] = {{"forward", gflop / seconds.forward},
                                    {"input_gradient", gflop / seconds.input_gradient},
                                    {"weight_gradient", gflop / seconds.weight_gradient}};
    step_seconds += shape.count * seconds.sum();
  }
  result["gflops"]["model"] = 1e-9 * matmul_flops_per_step() / step_seconds;
  result["gflops"]["square_2048"] = square_gflops(*backend, options.type());
  result["tokens_per_second"] = static_cast<double>(step_tokens) / step_seconds;
  fmt::print("{}\n", result.dump());
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  try {
    trireme::bench::run(trireme::bench::parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "matmul_ceiling: {}\n", error.what());
    return 1;
  }
}
