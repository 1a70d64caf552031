// The blocks of an ERNIE before its head: embedding and encoder.
#pragma once

#include <cmath>
#include <memory>
#include <string>

#include "model/arch/ernie.h"
#include "model/layers/norm.h"

namespace trireme {

constexpr const char* ernie_token_table = "embedding.token.weight";
constexpr std::int64_t ernie_segments = 2;

/// BERT's 0.02 is for a width of 768. A narrower model's products need larger weights to be as large.
inline double initial_deviation(const ErnieConfig& config) { return 0.02 * std::sqrt(768.0 / config.hidden); }

inline Norm make_ernie_norm(const Build& build, const std::string& name, const ErnieConfig& config) {
  return {build, name, config.hidden, NormKind::layer, true};
}

/// x = dropout(norm(token + position + segment)). Tokens [batch, time] -> [batch, time, hidden].
std::unique_ptr<Layer> make_ernie_embedding(const Build& build, const ErnieConfig& config);

/// Two residual branches, attention and then feed-forward: x = norm(x + dropout(branch(x))), as in BERT and ERNIE, or,
/// pre_norm, x = x + dropout(branch(norm(x))). [batch, time, hidden] -> the same.
std::unique_ptr<Layer> make_encoder_block(const Build& build, const std::string& name, const ErnieConfig& config);

}  // namespace trireme
