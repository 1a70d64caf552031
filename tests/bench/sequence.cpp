// Milliseconds of the kernels that recognisers of text lines are made of, at the sizes of a CRNN on lines of 320
// pixels: a bidirectional LSTM of 80 time steps, and CTC over a key set of 6,625 classes. Prints one line of JSON.
// --micro-batch is the number of lines.
#include "tests/bench/benchmark.h"
#include "tests/bench/gpt2.h"
#include "tests/bench/timing.h"

namespace trireme::bench {
namespace {

constexpr std::int64_t steps = 80, classes = 6625, longest = 25;

struct Width {
  const char* name;
  std::int64_t inputs, hidden;
};
constexpr std::array<Width, 3> widths = {{{"lstm_96", 288, 96}, {"lstm_96_second", 192, 96}, {"lstm_256", 512, 256}}};

/// Numbers around 0, as inputs and weights have them.
Tensor centred(Backend& backend, const Shape& shape, DType type, float size) {
  std::vector<float> host(static_cast<std::size_t>(shape.elements()));
  std::uint32_t state = 1;
  for (float& value : host) {
    state = state * 1664525U + 1013904223U;
    value = size * (static_cast<float>(state >> 8U) * 0x1p-23F - 1.0F);
  }
  Tensor values = backend.allocate(shape, DType::f32);
  backend.upload(host.data(), values);
  Tensor out = backend.allocate(shape, type);
  backend.cast(values, out);
  return out;
}

nlohmann::ordered_json measure_lstm(Backend& backend, const Width& width, const Options& options) {
  const auto [name, n, h] = width;
  const std::int64_t batch = options.micro_batch;
  const DType type = options.type();
  LstmArgs args;
  args.x = centred(backend, {batch, steps, n}, type, 1.0F);
  args.weight = centred(backend, {2, 4 * h, n}, type, 0.1F);
  args.recurrent_weight = centred(backend, {2, 4 * h, h}, type, 0.1F);
  args.bias = centred(backend, {2, 4 * h}, type, 0.1F);
  args.y = backend.allocate({batch, steps, 2 * h}, type);
  args.inputs = backend.allocate({steps, batch, n}, type);
  args.gates = backend.allocate({2, steps, batch, 4 * h}, type);
  args.cells = backend.allocate({2, steps, batch, h}, DType::f32);
  args.outputs = backend.allocate({2, steps, batch, h}, type);
  const Tensor dy = centred(backend, args.y.shape(), type, 1.0F);
  const Tensor dx = backend.allocate(args.x.shape(), type);
  const LstmBackwardWeightArgs weights = {args, filled(backend, args.weight.shape(), DType::f32),
                                          filled(backend, args.recurrent_weight.shape(), DType::f32),
                                          filled(backend, args.bias.shape(), DType::f32)};
  const double forward = seconds_of(backend, [&] { backend.lstm(args); });
  // From the gates of a forward pass each time, so that numbers stay what they are in training.
  const double both = seconds_of(backend, [&] {
    backend.lstm(args);
    backend.lstm_backward_input({args, dy, dx});
  });
  const double weight = seconds_of(backend, [&] { backend.lstm_backward_weight(weights); });
  const double flops = 2.0 * static_cast<double>(2 * batch * steps * 4 * h * (n + h));  // of each of the three
  return {{"forward", 1e3 * forward},
          {"backward_input", 1e3 * (both - forward)},
          {"backward_weight", 1e3 * weight},
          {"gflops", 3e-9 * flops / (both + weight)}};
}

nlohmann::ordered_json measure_ctc(Backend& backend, const Options& options) {
  const std::int64_t batch = options.micro_batch;
  std::vector<std::int32_t> labels(static_cast<std::size_t>(batch * longest));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(1 + i * 7919 % (classes - 1));
  CtcLossArgs args;
  args.logits = centred(backend, {batch, steps, classes}, options.type(), 3.0F);
  args.labels = backend.allocate({batch, longest}, DType::i32);
  backend.upload(labels.data(), args.labels);
  args.log_sum_exp = backend.allocate({batch, steps}, DType::f32);
  args.states = backend.allocate({batch, steps, 2 * longest + 1}, DType::f64);
  args.losses = backend.allocate({batch}, DType::f32);
  args.counted = backend.allocate({batch}, DType::f32);
  args.impossible = backend.allocate({batch}, DType::f32);
  const CtcGradientArgs back = {args.logits, args.labels, {}, args.log_sum_exp, args.states, 1.0F};
  const double forward = seconds_of(backend, [&] { backend.ctc_loss(args); });
  // The gradient takes the logits' place: after the first time these are no texts, but the work is the same.
  const double both = seconds_of(backend, [&] {
    backend.ctc_loss(args);
    backend.ctc_gradient(back);
  });
  return {{"loss", 1e3 * forward}, {"gradient", 1e3 * (both - forward)}};
}

nlohmann::ordered_json run(const Options& options) {
  const auto backend = options.make_backend();
  nlohmann::ordered_json result = {{"device", backend->description()},
                                   {"precision", options.precision},
                                   {"batch", options.micro_batch},
                                   {"steps", steps}};
  for (const Width& width : widths) result["milliseconds"][width.name] = measure_lstm(*backend, width, options);
  result["milliseconds"]["ctc"] = measure_ctc(*backend, options);
  return result;
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  using namespace trireme::bench;
  return print_result("sequence", [&] { return run(parse(argc, argv)); });
}
