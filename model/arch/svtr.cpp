#include "model/arch/svtr.h"

#include <vector>

#include "kernels/error.h"
#include "model/arch/line_blocks.h"
#include "model/layers/transformer_block.h"

namespace trireme {
namespace {

constexpr double initial_deviation = 0.02;

TransformerBlockOptions svtr_block(const GptConfig& config) {
  return {.attention = {.hidden = config.hidden,
                        .heads = config.heads,
                        .key_value_heads = config.heads,
                        .causal = false,
                        .deviation = initial_deviation,
                        .projection_deviation = initial_deviation},
          .feed_forward = {.hidden = config.hidden,
                           .inner = config.inner_size(),
                           .deviation = initial_deviation,
                           .projection_deviation = initial_deviation},
          .dropout = config.dropout};
}

/// Every column of a line sees all. `of_image`: takes the last convolution's [batch, 1, time, hidden].
class GlobalMixing final : public Layer {
 public:
  GlobalMixing(const Build& build, const std::string& name, bool of_image, const GptConfig& config)
      : of_image_(of_image), block_(build, name, svtr_block(config)) {}

  // [batch, time, hidden] -> the same
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    const Shape& shape = x.shape();
    return block_.forward(context, of_image_ ? x.reshape({shape[0], shape[2], shape[3]}) : x, saved);
  }
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    const Tensor dx = block_.backward_input(context, dy, saved);
    const Shape& shape = dx.shape();
    return of_image_ ? dx.reshape({shape[0], 1, shape[1], shape[2]}) : dx;
  }
  void backward_weight(const Context& context, Saved& saved) const override { block_.backward_weight(context, saved); }

 private:
  bool of_image_;
  TransformerBlock block_;
};

void check(const GptConfig& config, const LineConfig& line) {
  if (config.vocabulary < 2) refuse("model: a key set of {} classes; at least 2 are needed", config.vocabulary);
  if (line.height % 16 != 0)
    refuse("model.height={}: svtr halves the height four times, expected a multiple of 16", line.height);
  if (config.hidden % config.heads != 0)
    refuse("model.hidden={} cannot be divided between model.heads={}: hidden must be a multiple of heads",
           config.hidden, config.heads);
}

/// What each convolution does, from the picture on. c is model.channels, w the picture's width, heights as of 32.
std::vector<ConvolutionOptions> convolutions(const GptConfig& config, const LineConfig& line) {
  const std::int64_t c = line.channels;
  std::vector<ConvolutionOptions> list;
  const auto full = [&](std::int64_t inputs, std::int64_t outputs) {
    list.push_back({inputs, outputs, 3, 3, {.stride_height = 2, .stride_width = 2, .pad_height = 1, .pad_width = 1}});
  };
  /// A filter of `size` for each channel by itself, then all channels of each cell.
  const auto separable = [&](std::int64_t inputs, std::int64_t outputs, int down, int size) {
    list.push_back(
        {inputs,
         inputs,
         size,
         size,
         {.stride_height = down, .pad_height = size / 2, .pad_width = size / 2, .groups = static_cast<int>(inputs)}});
    list.push_back({inputs, outputs, 1, 1});
  };
  full(1, c);                     // [16, w / 2, c]
  full(c, 2 * c);                 // [8, w / 4, 2c]
  separable(2 * c, 2 * c, 1, 3);  //
  separable(2 * c, 4 * c, 2, 3);  // [4, w / 4, 4c]
  separable(4 * c, 4 * c, 1, 3);  //
  separable(4 * c, 8 * c, 2, 3);  // [2, w / 4, 8c]
  separable(8 * c, 8 * c, 1, 5);  //
  // All rows become one.
  list.push_back({8 * c, config.hidden, line.height / 16, 1});  // [1, w / 4, hidden]
  return list;
}

}  // namespace

Architecture make_svtr(const GptConfig& config, const LineConfig& line, int tensor_ranks, DType type) {
  check(config, line);
  const auto bytes = static_cast<double>(size_of(type));
  Architecture result;
  result.draws = config.dropout > 0;

  const auto output = add_convolutions(result, convolutions(config, line), Activation::hard_swish, line, bytes);
  const auto columns = static_cast<double>(output({line.height, line.width, 1})[1]);
  const double hidden = config.hidden, ranks = tensor_ranks;
  const auto line_shape = [output, config](const Shape& image) { return Shape{output(image)[1], config.hidden}; };
  for (int layer = 0; layer < config.layers; ++layer) {
    const std::string name = fmt::format("blocks.{}", layer);
    const double weights = hidden * (4.0 * hidden + 2.0 * config.inner_size()) / ranks;
    const double scores = 2.0 * columns * hidden / ranks;
    const double kept = 4.0 * hidden + (4.0 * hidden + 2.0 * config.inner_size()) / ranks;
    result.blocks.push_back(
        {name,
         {2.0 * columns * (weights + scores), 4.0 * weights, bytes * columns * kept},
         line_shape,
         [=](const Build& build) { return std::make_unique<GlobalMixing>(build, name, layer == 0, config); }});
  }
  add_line_head(result, config.hidden, config.vocabulary, columns, bytes);
  return result;
}

}  // namespace trireme
