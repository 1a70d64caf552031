#include "tests/support/reference_gpt.h"

#include <cmath>

namespace trireme::testing {
namespace {

using Vector = std::vector<double>;
using Matrix = std::vector<Vector>;  ///< [time][width]

class Reference {
 public:
  Reference(const GptConfig& config, const ReferenceParameters& parameters) : config_(config), all_(parameters) {}

  double loss(const std::vector<int>& tokens, const std::vector<int>& targets) const {
    Matrix x = embed(tokens);
    for (int layer = 0; layer < config_.layers; ++layer) {
      const std::string name = "blocks." + std::to_string(layer);
      add(x, attention(norm(x, name + ".attention_norm"), name + ".attention"));
      add(x, feed_forward(norm(x, name + ".feed_forward_norm"), name + ".feed_forward"));
    }
    const Matrix hidden = norm(x, "head.norm");
    const Vector& table = all_.at(config_.tie_embeddings ? "embedding.token.weight" : "head.weight");
    double total = 0;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const Vector logits = product(table, hidden[t]);
      double sum = 0;
      for (const double logit : logits) sum += std::exp(logit);
      total += std::log(sum) - logits[static_cast<std::size_t>(targets[t])];
    }
    return total;
  }

 private:
  bool has(const std::string& name) const { return all_.contains(name); }

  static Vector product(const Vector& matrix, const Vector& x) {
    Vector y(matrix.size() / x.size());
    for (std::size_t row = 0; row < y.size(); ++row)
      for (std::size_t column = 0; column < x.size(); ++column) y[row] += matrix[row * x.size() + column] * x[column];
    return y;
  }

  Vector linear(const Vector& x, const std::string& name) const {
    Vector y = product(all_.at(name + ".weight"), x);
    if (has(name + ".bias"))
      for (std::size_t i = 0; i < y.size(); ++i) y[i] += all_.at(name + ".bias")[i];
    return y;
  }

  static void add(Matrix& x, const Matrix& y) {
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t i = 0; i < x[t].size(); ++i) x[t][i] += y[t][i];
  }

  Matrix embed(const std::vector<int>& tokens) const {
    const auto hidden = static_cast<std::size_t>(config_.hidden);
    Matrix x;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const auto* row = all_.at("embedding.token.weight").data() + static_cast<std::size_t>(tokens[t]) * hidden;
      x.emplace_back(row, row + hidden);
      if (config_.positions == PositionKind::learned)
        for (std::size_t i = 0; i < hidden; ++i) x[t][i] += all_.at("embedding.position.weight")[t * hidden + i];
    }
    return x;
  }

  Matrix norm(Matrix x, const std::string& name) const {
    for (Vector& row : x) {
      double mean = 0;
      double square = 0;
      if (config_.norm == NormKind::layer)
        for (const double value : row) mean += value / static_cast<double>(row.size());
      for (const double value : row) square += (value - mean) * (value - mean) / static_cast<double>(row.size());
      for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = (row[i] - mean) / std::sqrt(square + 1e-5) * all_.at(name + ".weight")[i];
        if (has(name + ".bias")) row[i] += all_.at(name + ".bias")[i];
      }
    }
    return x;
  }

  /// Pairs element i with i + half, as LLaMA does.
  void rotate(Vector& heads, std::size_t time) const {
    if (config_.positions != PositionKind::rotary) return;
    const auto size = static_cast<std::size_t>(config_.head_size());
    for (std::size_t head = 0; head < heads.size(); head += size)
      for (std::size_t i = 0; i < size / 2; ++i) {
        const double angle =
            static_cast<double>(time) * std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(size));
        double& a = heads[head + i];
        double& b = heads[head + size / 2 + i];
        const double turned = a * std::cos(angle) - b * std::sin(angle);
        b = b * std::cos(angle) + a * std::sin(angle);
        a = turned;
      }
  }

  Matrix attention(const Matrix& x, const std::string& name) const {
    const auto size = static_cast<std::size_t>(config_.head_size());
    const auto heads = static_cast<std::size_t>(config_.heads);
    const auto sharing = heads / static_cast<std::size_t>(config_.key_value_head_count());
    Matrix queries;
    Matrix keys;
    Matrix values;
    for (std::size_t t = 0; t < x.size(); ++t) {
      queries.push_back(linear(x[t], name + ".query"));
      keys.push_back(linear(x[t], name + ".key"));
      values.push_back(linear(x[t], name + ".value"));
      rotate(queries[t], t);
      rotate(keys[t], t);
    }
    Matrix out;
    for (std::size_t t = 0; t < x.size(); ++t) {
      Vector mixed(heads * size);
      for (std::size_t head = 0; head < heads; ++head) {
        const std::size_t shared = head / sharing * size;
        Vector weights(t + 1);
        double sum = 0;
        for (std::size_t s = 0; s <= t; ++s) {
          double score = 0;
          for (std::size_t i = 0; i < size; ++i) score += queries[t][head * size + i] * keys[s][shared + i];
          weights[s] = std::exp(score / std::sqrt(static_cast<double>(size)));
          sum += weights[s];
        }
        for (std::size_t s = 0; s <= t; ++s)
          for (std::size_t i = 0; i < size; ++i) mixed[head * size + i] += weights[s] / sum * values[s][shared + i];
      }
      out.push_back(linear(mixed, name + ".projection"));
    }
    return out;
  }

  Matrix feed_forward(const Matrix& x, const std::string& name) const {
    Matrix out;
    for (const Vector& row : x) {
      Vector inner = linear(row, name + ".up");
      if (config_.activation == FeedForwardKind::swiglu) {
        const Vector gate = linear(row, name + ".gate");
        for (std::size_t i = 0; i < inner.size(); ++i) inner[i] *= gate[i] / (1.0 + std::exp(-gate[i]));
      } else {
        for (double& h : inner) h *= 0.5 * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (h + 0.044715 * h * h * h)));
      }
      out.push_back(linear(inner, name + ".down"));
    }
    return out;
  }

  const GptConfig& config_;
  const ReferenceParameters& all_;
};

}  // namespace

double reference_gpt_loss(const GptConfig& config, const ReferenceParameters& parameters,
                          const std::vector<std::int32_t>& tokens, const std::vector<std::int32_t>& targets, int time) {
  const Reference reference(config, parameters);
  double total = 0;
  for (std::size_t first = 0; first < tokens.size(); first += static_cast<std::size_t>(time)) {
    const auto part = [&](const std::vector<std::int32_t>& all) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
      return std::vector<int>(begin, begin + time);
    };
    total += reference.loss(part(tokens), part(targets));
  }
  return total / static_cast<double>(tokens.size());
}

}  // namespace trireme::testing
