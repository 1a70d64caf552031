// What counting alone knows of a text: entropies, and the loss of n-gram models that a neural one has to beat. All in
// nats a token, like the training loss.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "io/dataset.h"

namespace trireme {

/// Counts of tokens and of pairs of neighbours in one run of tokens. Memory: one entry a pair that occurs.
class NGramCounts {
 public:
  explicit NGramCounts(int vocabulary);
  /// Continues the run.
  void add(std::span<const std::int32_t> tokens);

  std::int64_t tokens() const { return tokens_; }
  std::size_t distinct_pairs() const { return pairs_.size(); }

  /// H(X) of the tokens' own frequencies. 0 of no tokens.
  double unigram_entropy() const;
  /// H(X | token before) of the pairs' own frequencies. 0 of fewer than two tokens.
  double bigram_entropy() const;

  /// Interpolated Witten-Bell models (Witten and Bell 1991; Chen and Goodman 1998, section 2.4). N tokens, T kinds of
  /// them, V the vocabulary; c(h) counts h as the first of a pair, T(h) the kinds that follow it:
  ///   P(w)     = (c(w) + T / V) / (N + T)
  ///   P(w | h) = (c(h w) + T(h) P(w)) / (c(h) + T(h)), and P(w) where h was never followed.
  double unigram_probability(std::int32_t token) const;
  double bigram_probability(std::int32_t before, std::int32_t token) const;

 private:
  static std::uint64_t key(std::int32_t before, std::int32_t token) {
    return static_cast<std::uint64_t>(before) << 32 | static_cast<std::uint32_t>(token);
  }

  std::int64_t tokens_ = 0;
  std::int64_t kinds_ = 0;
  std::optional<std::int32_t> last_;
  std::vector<std::int64_t> count_;      ///< [vocabulary]
  std::vector<std::int64_t> followed_;   ///< [vocabulary], c(h)
  std::vector<std::int64_t> followers_;  ///< [vocabulary], T(h)
  std::unordered_map<std::uint64_t, std::int64_t> pairs_;
};

struct TextEntropy {
  std::int64_t tokens = 0;  ///< that were counted
  double unigram = 0;
  double bigram = 0;
};

/// Entropies of the data set's first `most_tokens`, which bound memory to some 50 bytes each at worst.
TextEntropy text_entropy(TokenDataset& dataset, std::int64_t most_tokens = 50'000'000);

struct NGramBaseline {
  std::int64_t train_tokens = 0, validation_tokens = 0;  ///< that were used
  double unigram = 0;
  double bigram = 0;
};

/// Mean cross-entropy of the validation set under Witten-Bell models of the train set, over every validation token but
/// the first, which has none before it. At most `most_tokens` of each set. Refuses sets of different tokenizers and a
/// validation set of fewer than two tokens.
NGramBaseline ngram_baseline(TokenDataset& train, TokenDataset& validation, std::int64_t most_tokens = 50'000'000);

}  // namespace trireme
