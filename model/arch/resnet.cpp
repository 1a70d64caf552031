#include "model/arch/resnet.h"

#include <array>
#include <map>

#include "kernels/convolution_shape.h"
#include "kernels/error.h"
#include "model/layers/classification_head.h"
#include "model/layers/convolution_unit.h"
#include "model/layers/pooling.h"

namespace trireme {
namespace {

constexpr int stages = 4;
constexpr int expansion = 4;  ///< of a bottleneck's last convolution

/// Residual blocks of each stage (He et al. 2016, table 1; 10 is the smallest of the kind).
const std::map<int, std::array<int, stages>>& blocks_of_depth() {
  static const std::map<int, std::array<int, stages>> blocks = {
      {10, {1, 1, 1, 1}}, {18, {2, 2, 2, 2}}, {34, {3, 4, 6, 3}}, {50, {3, 4, 6, 3}}, {101, {3, 4, 23, 3}}};
  return blocks;
}

ConvolutionUnitOptions unit(const ResnetConfig& config, std::int64_t channels, std::int64_t outputs, int size,
                            int stride, Activation activation = Activation::relu) {
  const int pad = size / 2;
  return {
      .convolution = {.channels = channels,
                      .outputs = outputs,
                      .rows = size,
                      .columns = size,
                      .shape = {.stride_height = stride, .stride_width = stride, .pad_height = pad, .pad_width = pad}},
      .activation = activation,
      .synchronised = config.batch_norm == BatchNormScope::synchronised,
      .norm_momentum = config.batch_norm_momentum};
}

using PerChannel = std::array<float, PixelsArgs::most_channels>;

/// Of ImageNet's colours; grey images take the means of these.
PerChannel pixel_mean(int channels) { return channels == 1 ? PerChannel{0.449F} : PerChannel{0.485F, 0.456F, 0.406F}; }
PerChannel pixel_deviation(int channels) {
  return channels == 1 ? PerChannel{0.226F} : PerChannel{0.229F, 0.224F, 0.225F};
}

/// Convolution units of the stem.
ConvolutionUnitOptions stem_unit(const ResnetConfig& config) {
  ConvolutionUnitOptions options = config.stem == StemKind::large ? unit(config, config.channels, config.width, 7, 2)
                                                                  : unit(config, config.channels, config.width, 3, 1);
  options.convolution.input_gradient = false;
  return options;
}

constexpr PoolingOptions stem_pooling = {.height = 3, .width = 3, .pad_height = 1, .pad_width = 1};

/// What a residual block is made of: y = relu(units(x) + shortcut(x)).
struct ResidualOptions {
  std::vector<ConvolutionUnitOptions> units;     ///< one after the other; the sum goes into the last one's ReLU
  std::vector<ConvolutionUnitOptions> shortcut;  ///< none: x itself
  std::int64_t outputs = 0;
};

ResidualOptions residual(const ResnetConfig& config, std::int64_t channels, int stage, int block) {
  const std::int64_t width = std::int64_t{config.width} << stage;
  const int stride = stage > 0 && block == 0 ? 2 : 1;
  ResidualOptions options;
  if (config.bottleneck()) {
    options.outputs = expansion * width;
    options.units = {unit(config, channels, width, 1, 1), unit(config, width, width, 3, stride),
                     unit(config, width, options.outputs, 1, 1)};
  } else {
    options.outputs = width;
    options.units = {unit(config, channels, width, 3, stride), unit(config, width, width, 3, 1)};
  }
  options.units.back().zero_scale = config.zero_scale;
  if (stride != 1 || channels != options.outputs)
    options.shortcut = {unit(config, channels, options.outputs, 1, stride, Activation::none)};
  return options;
}

/// [batch, size, size, channels] -> [batch, size / 4, size / 4, width]; size stays with the small stem.
class Stem final : public Layer {
 public:
  Stem(const Build& build, const std::string& name, const ResnetConfig& config)
      : channels_(config.channels),
        unit_(build, name, stem_unit(config)),
        pooling_(stem_pooling),
        pools_(config.stem == StemKind::large) {}

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    Tensor images = x;
    if (x.dtype() == DType::u8) {
      images = context.backend.allocate(x.shape(), context.type);
      context.backend.normalise_pixels(
          {.x = x, .mean = pixel_mean(channels_), .deviation = pixel_deviation(channels_), .y = images});
    }
    const Tensor y = unit_.forward(context, images, saved.child(unit_child));
    return pools_ ? pooling_.forward(context, y, saved.child(pooling_child)) : y;
  }
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    const Tensor gradient = pools_ ? pooling_.backward_input(context, dy, saved.child(pooling_child)) : dy;
    return unit_.backward_input(context, gradient, saved.child(unit_child));
  }
  void backward_weight(const Context& context, Saved& saved) const override {
    unit_.backward_weight(context, saved.child(unit_child));
  }

 private:
  enum : std::size_t { unit_child, pooling_child };
  int channels_;
  ConvolutionUnit unit_;
  Pooling pooling_;
  bool pools_;
};

/// [batch, height, width, channels] -> [batch, height / stride, width / stride, outputs].
class ResidualBlock final : public Layer {
 public:
  ResidualBlock(const Build& build, const std::string& name, const ResidualOptions& options) {
    for (const auto& unit : options.units) units_.emplace_back(build, fmt::format("{}.{}", name, units_.size()), unit);
    for (const auto& unit : options.shortcut) shortcut_.emplace_back(build, name + ".shortcut", unit);
  }

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    Tensor y = x;
    const std::size_t last = units_.size() - 1;
    for (std::size_t i = 0; i < last; ++i) y = units_[i].forward(context, y, saved.child(i));
    Tensor around = x;
    for (const auto& unit : shortcut_) around = unit.forward(context, x, saved.child(units_.size()));
    return units_[last].forward_add(context, y, around, saved.child(last));
  }

  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    Tensor around;  // gradient of what goes around the branch
    const std::size_t last = units_.size() - 1;
    Tensor dx = units_[last].backward_input_add(context, dy, &around, saved.child(last));
    for (std::size_t i = last; i-- > 0;) dx = units_[i].backward_input(context, dx, saved.child(i));
    for (const auto& unit : shortcut_) around = unit.backward_input(context, around, saved.child(units_.size()));
    context.backend.add(dx, around, dx);
    return dx;
  }

  void backward_weight(const Context& context, Saved& saved) const override {
    for (std::size_t i = 0; i < units_.size(); ++i) units_[i].backward_weight(context, saved.child(i));
    for (const auto& unit : shortcut_) unit.backward_weight(context, saved.child(units_.size()));
  }

 private:
  std::vector<ConvolutionUnit> units_, shortcut_;
};

/// [batch, height, width, channels] -> the mean of each channel, and the classifier over these.
class Head final : public Layer {
 public:
  Head(const Build& build, const std::string& name, const ClassificationHeadOptions& options)
      : pooling_(Pooling::global_average()), classifier_(build, name, options) {}

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    const Tensor means = pooling_.forward(context, x, saved.child(pooling_child));
    return classifier_.forward(context, means.reshape({x.shape()[0], x.shape()[3]}), saved.child(classifier_child));
  }
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    const Tensor dmeans = classifier_.backward_input(context, dy, saved.child(classifier_child));
    return pooling_.backward_input(context, dmeans.reshape({dmeans.shape()[0], 1, 1, dmeans.shape()[1]}),
                                   saved.child(pooling_child));
  }
  void backward_weight(const Context& context, Saved& saved) const override {
    classifier_.backward_weight(context, saved.child(classifier_child));
  }

 private:
  enum : std::size_t { pooling_child, classifier_child };
  Pooling pooling_;
  ClassificationHead classifier_;
};

/// Size of the images, followed from block to block, and what each block costs for one of them.
struct Walk {
  std::int64_t size, channels;
  double bytes;  ///< of one activation

  BlockCost through(const ConvolutionUnitOptions& options) {
    const ConvolutionOptions& c = options.convolution;
    size = output_extent(size, c.rows, c.shape.stride_height, c.shape.pad_height);
    channels = c.outputs;
    const double weights = static_cast<double>(c.rows * c.columns * c.channels * c.outputs);
    const double pixels = static_cast<double>(size * size);
    // The convolution's output and the norm's are kept.
    return {2.0 * pixels * weights, 4.0 * (weights + 2.0 * static_cast<double>(c.outputs)),
            2.0 * bytes * pixels * static_cast<double>(c.outputs)};
  }
  BlockCost through_stem(const ResnetConfig& config) {
    const BlockCost cost = through(stem_unit(config));
    if (config.stem == StemKind::large)
      size = output_extent(size, stem_pooling.height, stem_pooling.stride_height, stem_pooling.pad_height);
    return cost;
  }
  BlockCost through_residual(const ResidualOptions& options) {
    BlockCost cost;
    Walk around = *this;
    const auto add = [&](const BlockCost& part) {
      cost.forward_flops += part.forward_flops;
      cost.parameter_bytes += part.parameter_bytes;
      cost.activation_bytes += part.activation_bytes;
    };
    for (const auto& unit : options.units) add(through(unit));
    for (const auto& unit : options.shortcut) add(around.through(unit));
    return cost;
  }
};

void check(const ResnetConfig& config) {
  if (!blocks_of_depth().contains(config.depth))
    refuse("model.depth={}: expected 10, 18, 34, 50 or 101 for model.arch=resnet", config.depth);
  if (config.classes < 2) refuse("model.image_classes={}: at least 2 are needed", config.classes);
  if (config.channels != 1 && config.channels != 3)
    refuse("model.image_channels={}: images are grey (1) or coloured (3)", config.channels);
}

}  // namespace

Architecture make_resnet(const ResnetConfig& config, DType type) {
  check(config);
  Walk walk{config.image_size, config.channels, static_cast<double>(size_of(type))};
  Architecture result;
  result.metrics = {{"loss", "nats an image"}, {"top1", ""}, {"top5", ""}};
  const auto add = [&](const std::string& name, const BlockCost& cost, const auto& make) {
    const Shape output = {walk.size, walk.size, walk.channels};
    result.blocks.push_back({name, cost, [output](const Shape&) { return output; },
                             [name, make](const Build& build) { return make(build, name); }});
  };

  add("stem", walk.through_stem(config),
      [config](const Build& build, const std::string& name) { return std::make_unique<Stem>(build, name, config); });
  for (int stage = 0; stage < stages; ++stage) {
    for (int block = 0; block < blocks_of_depth().at(config.depth)[static_cast<std::size_t>(stage)]; ++block) {
      const ResidualOptions options = residual(config, walk.channels, stage, block);
      add(fmt::format("stages.{}.{}", stage, block), walk.through_residual(options),
          [options](const Build& build, const std::string& name) {
            return std::make_unique<ResidualBlock>(build, name, options);
          });
    }
  }
  const ClassificationHeadOptions head{.features = walk.channels,
                                       .classes = config.classes,
                                       .label_smoothing = static_cast<float>(config.label_smoothing)};
  const double weights = static_cast<double>(head.features * head.classes);
  result.blocks.push_back(
      {"head", {2.0 * weights, 4.0 * (weights + config.classes), 0.0}, nullptr, [head](const Build& build) {
         return std::make_unique<Head>(build, "head", head);
       }});
  return result;
}

}  // namespace trireme
