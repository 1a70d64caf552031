#include "tests/support/reference_resnet.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace trireme::testing {
namespace {

using Parameters = std::map<std::string, std::vector<double>>;

/// [batch, size, size, channels]
struct Images {
  int batch, size, channels;
  std::vector<double> values;
  double& at(int b, int y, int x, int c) {
    return values[static_cast<std::size_t>(((b * size + y) * size + x) * channels + c)];
  }
};

Images empty(int batch, int size, int channels, double value = 0) {
  return {batch, size, channels, std::vector<double>(static_cast<std::size_t>(batch * size * size * channels), value)};
}

struct Net {
  const Parameters& parameters;
  bool training;

  const std::vector<double>& of(const std::string& name) const { return parameters.at(name); }

  Images convolution(Images x, const std::string& name, int outputs, int filter, int stride) const {
    const std::vector<double>& weight = of(name + ".weight");
    const int pad = (filter - 1) / 2;
    Images y = empty(x.batch, (x.size + 2 * pad - filter) / stride + 1, outputs);
    for (int b = 0; b < y.batch; ++b)
      for (int i = 0; i < y.size; ++i)
        for (int j = 0; j < y.size; ++j)
          for (int o = 0; o < outputs; ++o)
            for (int r = 0; r < filter; ++r)
              for (int s = 0; s < filter; ++s) {
                const int row = i * stride + r - pad;
                const int column = j * stride + s - pad;
                if (row < 0 || row >= x.size || column < 0 || column >= x.size) continue;
                for (int c = 0; c < x.channels; ++c)
                  y.at(b, i, j, o) +=
                      x.at(b, row, column, c) *
                      weight[static_cast<std::size_t>(((o * filter + r) * filter + s) * x.channels + c)];
              }
    return y;
  }

  Images norm(Images x, const std::string& name) const {
    const int rows = x.batch * x.size * x.size;
    for (int c = 0; c < x.channels; ++c) {
      const auto channel = static_cast<std::size_t>(c);
      double mean = of(name + ".running_mean")[channel];
      double variance = of(name + ".running_variance")[channel];
      if (training) {
        mean = variance = 0;
        for (int i = 0; i < rows; ++i) mean += x.values[static_cast<std::size_t>(i * x.channels + c)] / rows;
        for (int i = 0; i < rows; ++i)
          variance += std::pow(x.values[static_cast<std::size_t>(i * x.channels + c)] - mean, 2) / rows;
      }
      for (int i = 0; i < rows; ++i) {
        double& value = x.values[static_cast<std::size_t>(i * x.channels + c)];
        value =
            (value - mean) / std::sqrt(variance + 1e-5) * of(name + ".weight")[channel] + of(name + ".bias")[channel];
      }
    }
    return x;
  }

  Images unit(const Images& x, const std::string& name, int outputs, int filter, int stride) const {
    return norm(convolution(x, name, outputs, filter, stride), name + ".norm");
  }

  static Images relu(Images x) {
    for (double& value : x.values) value = std::max(value, 0.0);
    return x;
  }

  static Images maximum(Images x) {
    Images y = empty(x.batch, (x.size + 2 - 3) / 2 + 1, x.channels, -std::numeric_limits<double>::infinity());
    for (int b = 0; b < y.batch; ++b)
      for (int i = 0; i < y.size; ++i)
        for (int j = 0; j < y.size; ++j)
          for (int c = 0; c < y.channels; ++c)
            for (int row = std::max(0, 2 * i - 1); row <= std::min(x.size - 1, 2 * i + 1); ++row)
              for (int column = std::max(0, 2 * j - 1); column <= std::min(x.size - 1, 2 * j + 1); ++column)
                y.at(b, i, j, c) = std::max(y.at(b, i, j, c), x.at(b, row, column, c));
    return y;
  }

  Images block(const Images& x, const std::string& name, int width, int stride, bool bottleneck) const {
    Images y = x;
    if (bottleneck) {
      y = relu(unit(y, name + ".0", width, 1, 1));
      y = relu(unit(y, name + ".1", width, 3, stride));
      y = unit(y, name + ".2", 4 * width, 1, 1);
    } else {
      y = relu(unit(y, name + ".0", width, 3, stride));
      y = unit(y, name + ".1", width, 3, 1);
    }
    const bool projects = parameters.contains(name + ".shortcut.weight");
    const Images around = projects ? unit(x, name + ".shortcut", y.channels, 1, stride) : x;
    for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] += around.values[i];
    return relu(y);
  }
};

}  // namespace

std::vector<double> reference_resnet_logits(const ResnetConfig& config, const Parameters& parameters,
                                            const std::vector<double>& images, int batch, bool training) {
  const Net net{parameters, training};
  Images x{batch, config.image_size, config.channels, images};
  x = Net::relu(config.stem == StemKind::large ? net.unit(x, "stem", config.width, 7, 2)
                                               : net.unit(x, "stem", config.width, 3, 1));
  if (config.stem == StemKind::large) x = Net::maximum(x);
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0;; ++block) {
      const std::string name = "stages." + std::to_string(stage) + "." + std::to_string(block);
      if (!parameters.contains(name + ".0.weight")) break;
      x = net.block(x, name, config.width << stage, stage > 0 && block == 0 ? 2 : 1, config.depth >= 50);
    }
  }
  std::vector<double> logits;
  for (int b = 0; b < batch; ++b) {
    for (int k = 0; k < config.classes; ++k) {
      double sum = parameters.at("head.bias")[static_cast<std::size_t>(k)];
      for (int c = 0; c < x.channels; ++c) {
        double mean = 0;
        for (int i = 0; i < x.size; ++i)
          for (int j = 0; j < x.size; ++j) mean += x.at(b, i, j, c) / (x.size * x.size);
        sum += mean * parameters.at("head.weight")[static_cast<std::size_t>(k * x.channels + c)];
      }
      logits.push_back(sum);
    }
  }
  return logits;
}

double reference_smoothed_loss(const std::vector<double>& logits, const std::vector<std::int32_t>& targets, int classes,
                               double smoothing) {
  double loss = 0;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const double* z = logits.data() + row * static_cast<std::size_t>(classes);
    double sum = 0;
    for (int k = 0; k < classes; ++k) sum += std::exp(z[k]);
    for (int k = 0; k < classes; ++k) {
      const double share = smoothing / classes + (k == targets[row] ? 1 - smoothing : 0);
      loss -= share * (z[k] - std::log(sum)) / static_cast<double>(targets.size());
    }
  }
  return loss;
}

}  // namespace trireme::testing
