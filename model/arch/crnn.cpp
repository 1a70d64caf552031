#include "model/arch/crnn.h"

#include <vector>

#include "kernels/error.h"
#include "model/layers/ctc_head.h"
#include "model/layers/dropout.h"
#include "model/layers/lstm.h"
#include "model/layers/normed_convolution.h"

namespace trireme {
namespace {

/// One bidirectional LSTM. The first takes the last convolution's [batch, 1, time, channels].
class Recurrent final : public Layer {
 public:
  Recurrent(const Build& build, const std::string& name, std::int64_t inputs, const GptConfig& config)
      : lstm_(build, name, inputs, config.hidden), dropout_(name + ".dropout", config.dropout) {}

  // [batch, time, inputs] -> [batch, time, 2 * hidden]
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    const Shape& shape = x.shape();
    const Tensor rows = shape.rank() == 4 ? x.reshape({shape[0], shape[2], shape[3]}) : x;
    return dropout_(context, lstm_.forward(context, rows, saved.child(0)));
  }
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    return lstm_.backward_input(context, dropout_(context, dy), saved.child(0));
  }
  void backward_weight(const Context& context, Saved& saved) const override {
    lstm_.backward_weight(context, saved.child(0));
  }

 private:
  Lstm lstm_;
  Dropout dropout_;
};

void check(const GptConfig& config, const LineConfig& line) {
  if (config.vocabulary < 2) refuse("model: a key set of {} classes; at least 2 are needed", config.vocabulary);
  if (line.height % 16 != 0)
    refuse("model.height={}: crnn halves the height four times, expected a multiple of 16", line.height);
}

/// What each convolution does, from the picture on. c is model.channels, w the picture's width, heights as of 32:
std::vector<ConvolutionOptions> convolutions(const LineConfig& line) {
  const std::int64_t c = line.channels;
  const auto three = [](std::int64_t inputs, std::int64_t outputs, int down, int across) {
    return ConvolutionOptions{
        .channels = inputs,
        .outputs = outputs,
        .rows = 3,
        .columns = 3,
        .shape = {.stride_height = down, .stride_width = across, .pad_height = 1, .pad_width = 1}};
  };
  return {
      three(1, c, 2, 2),          // [16, w / 2, c]
      three(c, 2 * c, 2, 2),      // [8, w / 4, 2c]
      three(2 * c, 2 * c, 1, 1),  //
      three(2 * c, 4 * c, 2, 1),  // [4, w / 4, 4c]
      three(4 * c, 4 * c, 1, 1),  //
      three(4 * c, 4 * c, 2, 1),  // [2, w / 4, 4c]
      // All rows become one.
      {.channels = 4 * c,
       .outputs = 4 * c,
       .rows = line.height / 16,
       .columns = 3,
       .shape = {.pad_width = 1}},  // [1, w / 4, 4c]
  };
}

}  // namespace

Architecture make_crnn(const GptConfig& config, const LineConfig& line, DType type) {
  check(config, line);
  const auto bytes = static_cast<double>(size_of(type));
  const Shape expected{line.height, line.width, 1};
  Architecture result;
  result.metrics = {{"loss", "nats a line"}, {"character_error", ""}, {"exact_lines", ""}};
  result.draws = config.dropout > 0;

  std::function<Shape(const Shape&)> output = [](const Shape& image) { return image; };
  int number = 0;
  for (ConvolutionOptions options : convolutions(line)) {
    options.input_gradient = number > 0;
    output = [before = output, options](const Shape& image) { return convolved(before(image), options); };
    const std::string name = fmt::format("convolutions.{}", number);
    result.blocks.push_back(
        {name, normed_convolution_cost(options, output(expected), bytes), output, [options, name](const Build& build) {
           return std::make_unique<NormedConvolution>(build, name, options, Activation::relu);
         }});
    ++number;
  }

  const auto columns = static_cast<double>(output(expected)[1]);
  std::int64_t inputs = 4 * std::int64_t{line.channels};
  for (int layer = 0; layer < config.layers; ++layer) {
    const std::string name = fmt::format("recurrent.{}", layer);
    const double hidden = config.hidden;
    const double weights = 8.0 * hidden * (static_cast<double>(inputs) + hidden);
    result.blocks.push_back(
        {name,
         {2.0 * columns * weights, 4.0 * weights, bytes * columns * 16.0 * hidden},
         [output, config](const Shape& image) {
           return Shape{output(image)[1], 2 * std::int64_t{config.hidden}};
         },
         [=](const Build& build) { return std::make_unique<Recurrent>(build, name, inputs, config); }});
    inputs = 2 * std::int64_t{config.hidden};
  }
  const double weights = static_cast<double>(inputs) * config.vocabulary;
  result.blocks.push_back(
      {"head",
       {2.0 * columns * weights, 4.0 * weights, bytes * columns * config.vocabulary},
       nullptr,
       [=](const Build& build) { return std::make_unique<CtcHead>(build, "head", inputs, config.vocabulary); }});
  return result;
}

}  // namespace trireme
