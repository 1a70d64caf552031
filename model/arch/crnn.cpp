#include "model/arch/crnn.h"

#include <vector>

#include "kernels/error.h"
#include "model/arch/line_blocks.h"
#include "model/layers/dropout.h"
#include "model/layers/lstm.h"

namespace trireme {
namespace {

/// One bidirectional LSTM. `of_image`: takes the last convolution's [batch, 1, time, inputs].
class Recurrent final : public Layer {
 public:
  Recurrent(const Build& build, const std::string& name, std::int64_t inputs, bool of_image, const GptConfig& config)
      : of_image_(of_image), lstm_(build, name, inputs, config.hidden), dropout_(name + ".dropout", config.dropout) {}

  // [batch, time, inputs] -> [batch, time, 2 * hidden]
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    const Shape& shape = x.shape();
    const Tensor columns = of_image_ ? x.reshape({shape[0], shape[2], shape[3]}) : x;
    return dropout_(context, lstm_.forward(context, columns, saved.child(0)));
  }
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    const Tensor dx = lstm_.backward_input(context, dropout_(context, dy), saved.child(0));
    const Shape& shape = dx.shape();
    return of_image_ ? dx.reshape({shape[0], 1, shape[1], shape[2]}) : dx;
  }
  void backward_weight(const Context& context, Saved& saved) const override {
    lstm_.backward_weight(context, saved.child(0));
  }

 private:
  bool of_image_;
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
  Architecture result;
  result.draws = config.dropout > 0;

  const auto output = add_convolutions(result, convolutions(line), Activation::relu, line, bytes);
  const auto columns = static_cast<double>(output({line.height, line.width, 1})[1]);
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
         [=](const Build& build) { return std::make_unique<Recurrent>(build, name, inputs, layer == 0, config); }});
    inputs = 2 * std::int64_t{config.hidden};
  }
  add_line_head(result, inputs, config.vocabulary, columns, bytes);
  return result;
}

}  // namespace trireme
