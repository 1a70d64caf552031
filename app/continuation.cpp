#include "app/continuation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "kernels/philox.h"

namespace trireme {
namespace {

/// Draws a token from softmax(logits / temperature) over the top_k largest; temperature 0: the largest.
std::int32_t draw(std::span<const float> logits, const SampleOptions& options, double uniform) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto larger = [&](std::int32_t a, std::int32_t b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  };
  std::size_t candidates = logits.size();
  if (options.temperature == 0.0)
    candidates = 1;
  else if (options.top_k > 0)
    candidates = std::min(candidates, static_cast<std::size_t>(options.top_k));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(candidates), order.end(), larger);
  if (candidates == 1) return order.front();

  std::vector<double> weights(candidates);
  const double largest = logits[static_cast<std::size_t>(order.front())];
  for (std::size_t i = 0; i < candidates; ++i)
    weights[i] = std::exp((logits[static_cast<std::size_t>(order[i])] - largest) / options.temperature);
  double left = uniform * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (std::size_t i = 0; i < candidates; ++i) {
    left -= weights[i];
    if (left < 0.0) return order[i];
  }
  return order[candidates - 1];
}

/// Logits of the token that follows the last `context` of `tokens`.
std::vector<float> next_logits(Inference& model, std::span<const std::int32_t> tokens) {
  const GptConfig& config = model.configuration().model;
  const auto context_size = static_cast<std::size_t>(config.context);
  const auto window = tokens.last(std::min(tokens.size(), context_size));
  // Few lengths: a GPU plans its work anew for each. Causal attention does not see what fills up.
  constexpr std::size_t step = 64;
  std::vector<std::int32_t> padded(window.begin(), window.end());
  padded.resize(std::min(context_size, (window.size() + step - 1) / step * step));
  const HostField input{DType::i32, {static_cast<std::int64_t>(padded.size())}, padded.data()};
  return model.logits({&input, 1}, config.vocabulary, {.first = static_cast<std::int64_t>(window.size()) - 1});
}

}  // namespace

std::vector<std::int32_t> begin_text(const Tokenizer& tokenizer, std::string_view prompt) {
  std::vector<std::int32_t> tokens = {tokenizer.blob().end_of_text};
  for (const std::int32_t token : tokenizer.encode(prompt)) tokens.push_back(token);
  return tokens;
}

std::vector<std::int32_t> continue_text(Inference& model, std::vector<std::int32_t> tokens,
                                        const SampleOptions& options, std::uint64_t number) {
  for (int i = 0; i < options.tokens; ++i) {
    const auto words = philox(options.seed, number, static_cast<std::uint64_t>(i));
    tokens.push_back(draw(next_logits(model, tokens), options, uniform_float(words[0])));
    if (tokens.back() == model.tokenizer().end_of_text) break;
  }
  return tokens;
}

}  // namespace trireme
