#include "model/arch/ernie.h"

#include "kernels/error.h"
#include "model/arch/ernie_encoder.h"
#include "model/arch/ernie_heads.h"

namespace trireme {
namespace {

void check(const ErnieConfig& config) {
  if (config.vocabulary < 2) refuse("model: a vocabulary of {} tokens; at least 2 are needed", config.vocabulary);
  if (config.hidden % config.heads != 0)
    refuse("model.hidden={} cannot be divided between model.heads={}: hidden must be a multiple of heads",
           config.hidden, config.heads);
  if (config.task != ErnieTask::pretrain && config.labels.size() < 2)
    refuse("data.train: its texts have {} labels; a model to tell them apart needs at least 2", config.labels.size());
}

/// Costs of one sample on one rank of the tensor axis. Backward costs twice the forward pass everywhere.
struct Costs {
  const ErnieConfig& config;
  double ranks;
  double bytes;  ///< of one activation

  double tokens() const { return config.context; }
  double hidden() const { return config.hidden; }

  BlockCost embedding() const {
    const double replicated = (config.context + ernie_segments) * hidden();
    return {12.0 * tokens() * hidden(), 4.0 * (config.vocabulary * hidden() / ranks + replicated),
            tokens() * (8.0 + bytes * hidden())};
  }
  BlockCost encoder() const {
    const double weights = hidden() * (4.0 * hidden() + 2.0 * config.inner_size()) / ranks;
    const double scores = 2.0 * tokens() * hidden() / ranks;  // time x time, twice: scores and values
    const double kept = 6.0 * hidden() + (4.0 * hidden() + 2.0 * config.inner_size()) / ranks;
    return {2.0 * tokens() * (weights + scores), 4.0 * weights, bytes * tokens() * kept};
  }
  BlockCost final_norm() const { return {8.0 * tokens() * hidden(), 8.0 * hidden(), bytes * tokens() * hidden()}; }
  BlockCost head() const {
    const bool pretrain = config.task == ErnieTask::pretrain;
    const double classes = pretrain ? config.vocabulary / ranks : static_cast<double>(config.labels.size());
    const double rows = pretrain ? config.slots : config.task == ErnieTask::label_texts ? 1 : tokens();
    const double weights = classes * hidden() + (config.task == ErnieTask::label_tokens ? 0 : hidden() * hidden());
    return {2.0 * rows * weights, 4.0 * weights, bytes * rows * (3.0 * hidden() + classes)};
  }
};

}  // namespace

Architecture make_ernie(const ErnieConfig& config, int tensor_ranks, DType type) {
  check(config);
  const Costs costs{config, static_cast<double>(tensor_ranks), static_cast<double>(size_of(type))};
  const auto hidden_states = [config](const Shape& tokens) { return Shape{tokens[0], config.hidden}; };
  Architecture result;
  result.metrics = ernie_metrics(config);
  result.targets_per_sample = config.task == ErnieTask::pretrain      ? config.masked
                              : config.task == ErnieTask::label_texts ? 1
                                                                      : config.context / 2.0;
  result.draws = config.dropout > 0;

  result.blocks.push_back({"embedding", costs.embedding(), hidden_states,
                           [config](const Build& build) { return make_ernie_embedding(build, config); }});
  for (int layer = 0; layer < config.layers; ++layer) {
    const std::string name = fmt::format("blocks.{}", layer);
    result.blocks.push_back({name, costs.encoder(), hidden_states,
                             [config, name](const Build& build) { return make_encoder_block(build, name, config); }});
  }
  if (config.pre_norm)
    result.blocks.push_back({"final_norm", costs.final_norm(), hidden_states, [config](const Build& build) {
                               return std::make_unique<Norm>(make_ernie_norm(build, "final_norm", config));
                             }});
  result.blocks.push_back(
      {"head", costs.head(), nullptr, [config](const Build& build) { return make_ernie_head(build, config); }});
  if (config.task == ErnieTask::pretrain)
    result.shared.push_back({ernie_token_table, {0, static_cast<int>(result.blocks.size()) - 1}});
  return result;
}

}  // namespace trireme
