// GFLOP/s of the backend's matrix products on the shapes of GPT-2 124M and on one large square product; prints one line
// of JSON. `tokens_per_second` is what a training step could reach if it were nothing but these products. With
// --device=cuda: TFLOP/s of a product that fills a GPU, which utilisation is measured by, and what GPT-2 1558M's widest
// layer costs with and without what can be fused with a product.
#include <array>

#include "tests/bench/benchmark.h"
#include "tests/bench/gpt2.h"
#include "tests/bench/timing.h"

namespace trireme::bench {
namespace {

constexpr std::int64_t step_tokens = 4 * 256;  ///< of the CPU's benchmark, tests/bench/gpt2_124m.sh

/// A linear layer, out [rows, outputs] = x [rows, inputs] weight [outputs, inputs]', `count` times in the model.
struct LinearShape {
  const char* name;
  std::int64_t outputs, inputs;
  int count;
  /// Of one product: forward, input gradient and weight gradient cost the same.
  double flops() const { return 2.0 * static_cast<double>(step_tokens * outputs * inputs); }
};

constexpr std::array<LinearShape, 5> linear_shapes = {{{"qkv", 2304, 768, 12},
                                                       {"projection", 768, 768, 12},
                                                       {"up", 3072, 768, 12},
                                                       {"down", 768, 3072, 12},
                                                       {"head", 50304, 768, 1}}};

/// Of all linear layers in one training step.
double matmul_flops_per_step() {
  double sum = 0;
  for (const LinearShape& shape : linear_shapes) sum += 3 * shape.count * shape.flops();
  return sum;
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

double square_gflops(Backend& backend, DType type, std::int64_t n) {
  MatmulArgs args;
  args.a = filled(backend, {n, n}, type);
  args.b = filled(backend, {n, n}, type);
  args.out = backend.allocate({n, n}, type);
  args.transpose_b = true;
  return 2e-9 * static_cast<double>(n * n * n) / seconds_of(backend, args);
}

/// Milliseconds of the products of a layer [rows, wide] = gelu([rows, narrow] weight' + bias), and of the operations
/// that can be fused with them on their own.
nlohmann::ordered_json fused_products(Backend& backend, DType type) {
  constexpr std::int64_t rows = 16384, narrow = 1600, wide = 6400;
  const Tensor x = filled(backend, {rows, narrow}, type);
  const Tensor y = filled(backend, {rows, wide}, type);
  const Tensor pre_activation = filled(backend, {rows, wide}, type);
  const Tensor up = filled(backend, {wide, narrow}, type);
  const Tensor down = filled(backend, {narrow, wide}, type);
  const Tensor bias = filled(backend, {wide}, type);
  const Tensor dbias = filled(backend, {wide}, DType::f32);
  nlohmann::ordered_json result;
  const auto time = [&](const char* name, const auto& work) { result[name] = 1e3 * seconds_of(backend, work); };

  MatmulArgs gradient{.a = y, .b = x, .out = filled(backend, {wide, narrow}, DType::f32)};
  gradient.transpose_a = gradient.accumulate = true;
  time("weight_gradient", gradient);
  gradient.bias_gradient = dbias;
  time("weight_gradient_and_bias_gradient", gradient);
  time("bias_gradient", [&] { backend.add_column_sums(y, dbias); });

  MatmulArgs back{.a = x, .b = down, .out = y};
  time("input_gradient", back);
  back.activation = Activation::gelu;
  back.gradient_at = pre_activation;
  time("input_gradient_through_gelu", back);
  time("gelu_gradient", [&] { backend.activate_backward(Activation::gelu, pre_activation, y, y); });

  MatmulArgs forward{.a = x, .b = up, .out = y};
  forward.transpose_b = true;
  time("forward", forward);
  forward.bias = bias;
  time("forward_and_bias", forward);
  forward.activation = Activation::gelu;
  forward.pre_activation = pre_activation;
  time("forward_and_bias_and_gelu", forward);
  time("gelu", [&] { backend.activate(Activation::gelu, pre_activation, y); });
  return result;
}

nlohmann::ordered_json run_on_gpu(const Options& options) {
  const auto backend = make_cuda_backend(0);
  return {{"device", backend->description()},
          {"precision", options.precision},
          {"peak_tflops", 1e-3 * square_gflops(*backend, options.type(), 8192)},
          {"milliseconds", fused_products(*backend, options.type())}};
}

nlohmann::ordered_json run_on_cpu(const Options& options) {
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
  result["gflops"]["square_2048"] = square_gflops(*backend, options.type(), 2048);
  result["tokens_per_second"] = static_cast<double>(step_tokens) / step_seconds;
  return result;
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  using namespace trireme::bench;
  return print_result("matmul_ceiling", [&] {
    const Options options = parse(argc, argv);
    return options.device == "cuda" ? run_on_gpu(options) : run_on_cpu(options);
  });
}
