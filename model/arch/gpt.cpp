#include "model/arch/gpt.h"

#include <cmath>

#include "kernels/error.h"
#include "model/layers/embedding.h"
#include "model/layers/language_model_head.h"
#include "model/layers/transformer_block.h"

namespace trireme {
namespace {

constexpr double initial_deviation = 0.02;
constexpr const char* token_table = "embedding.token.weight";

/// Pre-norm, as in GPT-2 and LLaMA.
TransformerBlockOptions gpt_block(const GptConfig& config) {
  // GPT-2 makes the matrices that write to the residual stream smaller by the root of their number.
  const double residual_deviation = initial_deviation / std::sqrt(2.0 * config.layers);
  return {.norm = config.norm,
          .norm_bias = config.bias,
          .attention = {.hidden = config.hidden,
                        .heads = config.heads,
                        .key_value_heads = config.key_value_head_count(),
                        .causal = true,
                        .rotary = config.positions == PositionKind::rotary,
                        .bias = config.bias,
                        .deviation = initial_deviation,
                        .projection_deviation = residual_deviation},
          .feed_forward = {.hidden = config.hidden,
                           .inner = config.inner_size(),
                           .gated = config.activation == FeedForwardKind::swiglu,
                           .bias = config.bias,
                           .deviation = initial_deviation,
                           .projection_deviation = residual_deviation},
          .dropout = config.dropout};
}

void check(const GptConfig& config) {
  if (config.vocabulary < 2) refuse("model: a vocabulary of {} tokens; at least 2 are needed", config.vocabulary);
  if (config.hidden % config.heads != 0)
    refuse("model.hidden={} cannot be divided between model.heads={}: hidden must be a multiple of heads",
           config.hidden, config.heads);
  if (config.heads % config.key_value_head_count() != 0)
    refuse("model.key_value_heads={} does not divide model.heads={}", config.key_value_heads, config.heads);
  if (config.positions == PositionKind::rotary && config.head_size() % 2 != 0)
    refuse("model.positions=rotary needs an even head size; model.hidden={} / model.heads={} is {}", config.hidden,
           config.heads, config.head_size());
}

/// Costs of one sample on one rank of the tensor axis. Backward costs twice the forward pass everywhere.
struct Costs {
  const GptConfig& config;
  double ranks;
  double bytes;  ///< of one activation

  double tokens() const { return config.context; }
  double hidden() const { return config.hidden; }

  BlockCost embedding() const {
    const double positions = config.positions == PositionKind::learned ? tokens() * hidden() : 0.0;
    return {2.0 * tokens() * hidden(), 4.0 * (config.vocabulary * hidden() / ranks + positions), 4.0 * tokens()};
  }
  BlockCost transformer() const {
    const double qkv = config.head_size() * (config.heads + 2.0 * config.key_value_head_count());
    const double inner = config.inner_size();
    const double up = config.activation == FeedForwardKind::swiglu ? 2.0 * inner : inner;
    const double weights = hidden() * (qkv + hidden() + up + inner) / ranks;
    const double scores = tokens() * hidden() / ranks;  // half of time x time, twice: scores and values
    const double kept = 4.0 * hidden() + (qkv + hidden() + up + inner) / ranks;
    return {2.0 * tokens() * (weights + scores), 4.0 * weights, bytes * tokens() * kept};
  }
  BlockCost head() const {
    const double weights = config.vocabulary * hidden() / ranks;
    return {2.0 * tokens() * weights, 4.0 * weights, bytes * tokens() * (2.0 * hidden() + config.vocabulary / ranks)};
  }
};

}  // namespace

int GptConfig::inner_size() const {
  if (feed_forward > 0) return feed_forward;
  if (activation == FeedForwardKind::gelu) return 4 * hidden;
  return (8 * hidden / 3 + 63) / 64 * 64;
}

Architecture make_gpt(const GptConfig& config, int tensor_ranks, DType type) {
  check(config);
  const Costs costs{config, static_cast<double>(tensor_ranks), static_cast<double>(size_of(type))};
  const auto hidden_states = [config](const Shape& tokens) { return Shape{tokens[0], config.hidden}; };
  Architecture result;
  result.metrics = {{"loss", "nats a token"}};
  result.targets_per_sample = config.context;
  result.draws = config.dropout > 0;

  result.blocks.push_back(
      {"embedding", costs.embedding(), hidden_states, [config](const Build& build) {
         return std::make_unique<Embedding>(
             build, "embedding",
             EmbeddingOptions{.vocabulary = config.vocabulary,
                              .hidden = config.hidden,
                              .context = config.positions == PositionKind::learned ? config.context : 0,
                              .deviation = initial_deviation,
                              .dropout = config.dropout});
       }});
  for (int layer = 0; layer < config.layers; ++layer) {
    const std::string name = fmt::format("blocks.{}", layer);
    result.blocks.push_back({name, costs.transformer(), hidden_states, [config, name](const Build& build) {
                               return std::make_unique<TransformerBlock>(build, name, gpt_block(config));
                             }});
  }
  result.blocks.push_back({"head", costs.head(), nullptr, [config](const Build& build) {
                             return std::make_unique<LanguageModelHead>(
                                 build, "head.norm",
                                 LanguageModelHeadOptions{.vocabulary = config.vocabulary,
                                                          .hidden = config.hidden,
                                                          .norm = config.norm,
                                                          .bias = config.bias,
                                                          .table = config.tie_embeddings ? token_table : "head.weight",
                                                          .first_copy = !config.tie_embeddings || build.first_stage,
                                                          .deviation = initial_deviation});
                           }});
  if (config.tie_embeddings) result.shared.push_back({token_table, {0, config.layers + 1}});
  return result;
}

}  // namespace trireme
