#include "tests/support/reference_ernie.h"

#include <cmath>

namespace trireme::testing {
namespace {

using Vector = std::vector<double>;
using Matrix = std::vector<Vector>;  ///< [time][width]

class Reference {
 public:
  Reference(const ErnieConfig& config, const ReferenceParameters& parameters) : config_(config), all_(parameters) {}

  double objective(const ReferenceSample& sample) const {
    Matrix x = embed(sample);
    for (int layer = 0; layer < config_.layers; ++layer) {
      const std::string name = "blocks." + std::to_string(layer);
      branch(x, name + ".attention_norm",
             [&](const Matrix& in) { return attention(in, name + ".attention", sample.length); });
      branch(x, name + ".feed_forward_norm",
             [&](const Matrix& in) { return feed_forward(in, name + ".feed_forward"); });
    }
    if (config_.pre_norm)
      for (Vector& row : x) row = norm(row, "final_norm");

    if (config_.task == ErnieTask::label_texts) {
      Vector sum(x[0].size());
      for (int t = 0; t < sample.length; ++t)
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += x[static_cast<std::size_t>(t)][i];
      return cross_entropy(classes(norm(sum, "classifier.norm"), "classifier"), sample.labels[0]);
    }
    double total = 0;
    if (config_.task == ErnieTask::label_tokens) {
      for (std::size_t t = 0; t < x.size(); ++t) total += cross_entropy(linear(x[t], "labeller"), sample.labels[t]);
      return total;
    }
    for (std::size_t i = 0; i < sample.positions.size(); ++i) {
      if (sample.positions[i] < 0) continue;
      const Vector row = x[static_cast<std::size_t>(sample.positions[i])];
      Vector logits =
          product(all_.at("embedding.token.weight"), norm(gelu(linear(row, "head.transform")), "head.norm"));
      for (std::size_t c = 0; c < logits.size(); ++c) logits[c] += all_.at("head.bias")[c];
      total += cross_entropy(logits, sample.targets[i]);
    }
    if (config_.order_weight > 0)
      total += config_.order_weight * config_.masked * cross_entropy(classes(x[0], "order"), sample.order);
    return total;
  }

 private:
  static Vector product(const Vector& matrix, const Vector& x) {
    Vector y(matrix.size() / x.size());
    for (std::size_t row = 0; row < y.size(); ++row)
      for (std::size_t column = 0; column < x.size(); ++column) y[row] += matrix[row * x.size() + column] * x[column];
    return y;
  }
  Vector linear(const Vector& x, const std::string& name) const {
    Vector y = product(all_.at(name + ".weight"), x);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += all_.at(name + ".bias")[i];
    return y;
  }
  static Vector gelu(Vector x) {
    for (double& h : x) h *= 0.5 * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (h + 0.044715 * h * h * h)));
    return x;
  }
  Vector norm(Vector row, const std::string& name) const {
    double mean = 0, square = 0;
    for (const double value : row) mean += value / static_cast<double>(row.size());
    for (const double value : row) square += (value - mean) * (value - mean) / static_cast<double>(row.size());
    for (std::size_t i = 0; i < row.size(); ++i)
      row[i] = (row[i] - mean) / std::sqrt(square + 1e-5) * all_.at(name + ".weight")[i] + all_.at(name + ".bias")[i];
    return row;
  }
  static double cross_entropy(const Vector& logits, std::int32_t target) {
    if (target < 0) return 0;
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit);
    return std::log(sum) - logits[static_cast<std::size_t>(target)];
  }
  Vector classes(const Vector& x, const std::string& name) const { return linear(gelu(linear(x, "pooler")), name); }

  Matrix embed(const ReferenceSample& sample) const {
    const auto hidden = static_cast<std::size_t>(config_.hidden);
    Matrix x;
    for (std::size_t t = 0; t < sample.tokens.size(); ++t) {
      Vector row(hidden);
      for (std::size_t i = 0; i < hidden; ++i)
        row[i] = all_.at("embedding.token.weight")[static_cast<std::size_t>(sample.tokens[t]) * hidden + i] +
                 all_.at("embedding.position.weight")[t * hidden + i] +
                 all_.at("embedding.segment.weight")[static_cast<std::size_t>(sample.segments[t]) * hidden + i];
      x.push_back(norm(row, "embedding.norm"));
    }
    return x;
  }

  template <typename Function>
  void branch(Matrix& x, const std::string& norm_name, const Function& function) const {
    Matrix in = x;
    if (config_.pre_norm)
      for (Vector& row : in) row = norm(row, norm_name);
    const Matrix y = function(in);
    for (std::size_t t = 0; t < x.size(); ++t) {
      for (std::size_t i = 0; i < x[t].size(); ++i) x[t][i] += y[t][i];
      if (!config_.pre_norm) x[t] = norm(x[t], norm_name);
    }
  }

  Matrix attention(const Matrix& x, const std::string& name, int length) const {
    const auto heads = static_cast<std::size_t>(config_.heads);
    const auto size = static_cast<std::size_t>(config_.hidden) / heads;
    const auto seen = static_cast<std::size_t>(length);
    Matrix queries, keys, values, out;
    for (const Vector& row : x) {
      queries.push_back(linear(row, name + ".query"));
      keys.push_back(linear(row, name + ".key"));
      values.push_back(linear(row, name + ".value"));
    }
    for (std::size_t t = 0; t < x.size(); ++t) {
      Vector mixed(heads * size);  // zeros in the padding
      for (std::size_t first = 0; t < seen && first < mixed.size(); first += size) {
        Vector weights(seen);
        double sum = 0;
        for (std::size_t s = 0; s < seen; ++s) {
          double score = 0;
          for (std::size_t i = first; i < first + size; ++i) score += queries[t][i] * keys[s][i];
          sum += weights[s] = std::exp(score / std::sqrt(static_cast<double>(size)));
        }
        for (std::size_t s = 0; s < seen; ++s)
          for (std::size_t i = first; i < first + size; ++i) mixed[i] += weights[s] / sum * values[s][i];
      }
      out.push_back(linear(mixed, name + ".projection"));
    }
    return out;
  }

  Matrix feed_forward(const Matrix& x, const std::string& name) const {
    Matrix out;
    for (const Vector& row : x) out.push_back(linear(gelu(linear(row, name + ".up")), name + ".down"));
    return out;
  }

  const ErnieConfig& config_;
  const ReferenceParameters& all_;
};

}  // namespace

double reference_ernie_objective(const ErnieConfig& config, const ReferenceParameters& parameters,
                                 const std::vector<ReferenceSample>& samples) {
  const Reference reference(config, parameters);
  double total = 0;
  for (const ReferenceSample& sample : samples) total += reference.objective(sample);
  return total;
}

}  // namespace trireme::testing
