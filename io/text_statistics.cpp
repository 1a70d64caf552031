#include "io/text_statistics.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace trireme {
namespace {

/// Calls visit(span) with the first tokens of a data set, block by block; returns how many they were.
template <typename Visit>
std::int64_t read_blocks(TokenDataset& dataset, std::int64_t most_tokens, const Visit& visit) {
  std::vector<std::int32_t> block(std::size_t{1} << 20);
  const std::int64_t end = std::min(dataset.tokens(), most_tokens);
  for (std::int64_t first = 0; first < end; first += static_cast<std::int64_t>(block.size())) {
    const auto part = std::span(block).first(
        static_cast<std::size_t>(std::min(end - first, static_cast<std::int64_t>(block.size()))));
    dataset.read(first, part);
    visit(std::span<const std::int32_t>(part));
  }
  return end;
}

/// count * ln(count), 0 at 0.
double count_log(std::int64_t count) {
  const auto value = static_cast<double>(count);
  return count == 0 ? 0 : value * std::log(value);
}

}  // namespace

NGramCounts::NGramCounts(int vocabulary)
    : count_(static_cast<std::size_t>(vocabulary)), followed_(count_.size()), followers_(count_.size()) {}

void NGramCounts::add(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) {
    if (++count_.at(static_cast<std::size_t>(token)) == 1) ++kinds_;
    if (last_) {
      const auto before = static_cast<std::size_t>(*last_);
      ++followed_[before];
      if (++pairs_[key(*last_, token)] == 1) ++followers_[before];
    }
    last_ = token;
    ++tokens_;
  }
}

// -sum c/N ln(c/N) = ln N - sum c ln c / N
double NGramCounts::unigram_entropy() const {
  if (tokens_ == 0) return 0;
  double sum = 0;
  for (const std::int64_t count : count_) sum += count_log(count);
  return (count_log(tokens_) - sum) / static_cast<double>(tokens_);
}

double NGramCounts::bigram_entropy() const {
  if (tokens_ < 2) return 0;
  double sum = 0;
  for (const std::int64_t count : followed_) sum += count_log(count);
  for (const auto& [pair, count] : pairs_) sum -= count_log(count);
  return sum / static_cast<double>(tokens_ - 1);
}

double NGramCounts::unigram_probability(std::int32_t token) const {
  if (tokens_ == 0) return 1.0 / static_cast<double>(count_.size());
  const auto kinds = static_cast<double>(kinds_);
  return (static_cast<double>(count_.at(static_cast<std::size_t>(token))) +
          kinds / static_cast<double>(count_.size())) /
         (static_cast<double>(tokens_) + kinds);
}

double NGramCounts::bigram_probability(std::int32_t before, std::int32_t token) const {
  const auto followed = static_cast<double>(followed_.at(static_cast<std::size_t>(before)));
  const auto followers = static_cast<double>(followers_[static_cast<std::size_t>(before)]);
  if (followed == 0) return unigram_probability(token);
  const auto pair = pairs_.find(key(before, token));
  const double count = pair == pairs_.end() ? 0 : static_cast<double>(pair->second);
  return (count + followers * unigram_probability(token)) / (followed + followers);
}

TextEntropy text_entropy(TokenDataset& dataset, std::int64_t most_tokens) {
  NGramCounts counts(dataset.tokenizer().vocabulary);
  read_blocks(dataset, most_tokens, [&](std::span<const std::int32_t> tokens) { counts.add(tokens); });
  return {counts.tokens(), counts.unigram_entropy(), counts.bigram_entropy()};
}

NGramBaseline ngram_baseline(TokenDataset& train, TokenDataset& validation, std::int64_t most_tokens) {
  if (train.tokenizer().vocabulary != validation.tokenizer().vocabulary ||
      train.tokenizer().model != validation.tokenizer().model) {
    refuse("{}: its tokenizer is not that of {}; pack them together", validation.name(), train.name());
  }
  if (std::min(validation.tokens(), most_tokens) < 2) refuse("{}: fewer than two tokens", validation.name());
  NGramCounts counts(train.tokenizer().vocabulary);
  NGramBaseline result;
  result.train_tokens =
      read_blocks(train, most_tokens, [&](std::span<const std::int32_t> tokens) { counts.add(tokens); });
  std::optional<std::int32_t> before;
  result.validation_tokens = read_blocks(validation, most_tokens, [&](std::span<const std::int32_t> tokens) {
    for (const std::int32_t token : tokens) {
      if (before) {
        result.unigram -= std::log(counts.unigram_probability(token));
        result.bigram -= std::log(counts.bigram_probability(*before, token));
      }
      before = token;
    }
  });
  result.unigram /= static_cast<double>(result.validation_tokens - 1);
  result.bigram /= static_cast<double>(result.validation_tokens - 1);
  return result;
}

}  // namespace trireme
