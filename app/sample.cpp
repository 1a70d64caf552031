// trireme sample
#include <algorithm>
#include <cmath>
#include <iostream>
#include <iterator>
#include <numeric>

#include "app/commands.h"
#include "app/stored_model.h"
#include "app/workload.h"
#include "io/tokenizer.h"
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

class Sampler {
 public:
  explicit Sampler(Session& session) : session_(session) {}

  /// Logits of the token that follows the last `context` of `tokens`.
  std::vector<float> next_logits(std::span<const std::int32_t> tokens) {
    Backend& backend = session_.backend();
    const auto context_size = static_cast<std::size_t>(session_.configuration().model.context);
    const auto window = tokens.last(std::min(tokens.size(), context_size));
    // Few lengths: a GPU plans its work anew for each. Causal attention does not see what fills up.
    constexpr std::size_t step = 64;
    std::vector<std::int32_t> padded(window.begin(), window.end());
    padded.resize(std::min(context_size, (window.size() + step - 1) / step * step));
    Tensor inputs = backend.allocate({1, static_cast<std::int64_t>(padded.size())}, DType::i32);
    backend.upload(padded.data(), inputs);
    return rows_of(session_, infer(session_, {inputs}), std::ssize(window) - 1, 1);
  }

 private:
  Session& session_;
};

}  // namespace

ExitStatus run_sample(const Configuration& configuration, World& world) {
  StoredModel model(configuration, world, "sample");
  const TokenizerBlob& blob = model.tokenizer;
  if (!workload_of(model.configuration).writes_text())
    refuse("{}: found a checkpoint of model.arch={}, expected one of a model that writes text", model.folder.string(),
           model.configuration.arch);
  Session session(model.configuration, world, blob, Session::Purpose::inference);
  session.load(model.reader);
  const auto tokenizer = Tokenizer::load(blob);

  const SampleOptions& options = configuration.sample;
  Sampler sampler(session);
  for (int sample = 0; sample < options.count; ++sample) {
    // A text begins where another ended.
    std::vector<std::int32_t> tokens = {blob.end_of_text};
    for (const std::int32_t token : tokenizer->encode(options.prompt)) tokens.push_back(token);
    for (int i = 0; i < options.tokens; ++i) {
      const auto words = philox(options.seed, static_cast<std::uint64_t>(sample), static_cast<std::uint64_t>(i));
      tokens.push_back(draw(sampler.next_logits(tokens), options, uniform_float(words[0])));
      if (tokens.back() == blob.end_of_text) break;
    }
    std::cout << tokenizer->decode(tokens) << "\n";
    if (sample + 1 < options.count) std::cout << "----\n";
  }
  return ExitStatus::done;
}

}  // namespace trireme
