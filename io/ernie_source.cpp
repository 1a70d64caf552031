#include "io/ernie_source.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "io/wordpiece_tokenizer.h"
#include "kernels/error.h"
#include "kernels/philox.h"

namespace trireme {
namespace {

using Tokens = std::vector<std::int32_t>;
using Units = std::vector<std::uint8_t>;

std::int64_t samples_in(const TokenDataset& dataset, int context) {
  if (context <= ErnieSource::specials)
    refuse("model.context={}, but [CLS] and two [SEP] take {} of it", context, ErnieSource::specials);
  if (dataset.tokenizer().kind != WordpieceTokenizer::kind || !dataset.has_units())
    refuse("{}: has no word boundaries, which ernie masks by; pack it with --tokenizer=wordpiece", dataset.name());
  const std::int64_t body = context - ErnieSource::specials;
  if (dataset.tokens() < 2) refuse("{}: holds {} tokens, expected at least 2", dataset.name(), dataset.tokens());
  return (dataset.tokens() + body - 1) / body;
}

/// Where to part a text: where a sentence begins within a document, nearest to `wanted`; 0: nowhere.
std::size_t find_split(const Tokens& tokens, const Units& units, std::size_t wanted) {
  std::size_t best = 0;
  const auto distance = [&](std::size_t at) { return at > wanted ? at - wanted : wanted - at; };
  for (std::size_t at = 1; at < tokens.size(); ++at) {
    if ((units[at] & TokenUnit::begins_sentence) == 0 || tokens[at - 1] == WordpieceTokenizer::separate) continue;
    if (best == 0 || distance(at) < distance(best)) best = at;
  }
  return best;
}

/// [CLS] first [SEP] second [SEP].
struct Arranged {
  Tokens tokens;
  Units units;
  Tokens segments;
  std::int32_t order = -1;

  void add(std::int32_t token, std::uint8_t unit, std::int32_t segment) {
    tokens.push_back(token);
    units.push_back(unit);
    segments.push_back(segment);
  }
};

Arranged arrange(const Tokens& tokens, const Units& units, bool sentence_order, std::uint64_t seed,
                 std::int64_t sample) {
  const auto words = philox(seed, stream_of("sentence order"), static_cast<std::uint64_t>(sample));
  const auto wanted = static_cast<double>(tokens.size()) * (0.25 + 0.5 * uniform_float(words[0]));
  const std::size_t split = find_split(tokens, units, static_cast<std::size_t>(wanted));
  Arranged result;
  if (sentence_order && split > 0) result.order = static_cast<std::int32_t>(words[1] >> 31);
  const bool swapped = result.order == 1;
  result.add(WordpieceTokenizer::classify, 0, 0);
  const auto part = [&](std::size_t first, std::size_t end, std::int32_t segment) {
    for (std::size_t i = first; i < end; ++i) result.add(tokens[i], units[i], segment);
    if (end > first) result.add(WordpieceTokenizer::separate, 0, segment);
  };
  if (split == 0) {
    part(0, tokens.size(), 0);
  } else {
    part(swapped ? split : 0, swapped ? tokens.size() : split, 0);
    part(swapped ? 0 : split, swapped ? split : tokens.size(), 1);
  }
  return result;
}

}  // namespace

ErnieSource::ErnieSource(std::shared_ptr<TokenDataset> dataset, const ErnieSourceOptions& options,
                         const SourceOptions& how)
    : dataset_(std::move(dataset)),
      options_(options),
      how_(how),
      slots_(slots(options.mask.share, options.context)),
      samples_(samples_in(*dataset_, options.context)),
      order_(samples_, how.seed, how.training) {
  options_.mask.vocabulary = dataset_->tokenizer().vocabulary;
  options_.mask.seed = how.seed;
}

std::vector<Field> ErnieSource::fields(std::int64_t) const {
  return {{"tokens", DType::i32, {options_.context}},
          {"segments", DType::i32, {options_.context}},
          {"length", DType::i32, {}},
          {"positions", DType::i32, {slots_}},
          {"targets", DType::i32, {slots_}},
          {"levels", DType::i32, {slots_}},
          {"order", DType::i32, {}}};
}

void ErnieSource::read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) {
  const std::int64_t place = batch * how_.global_batch + index;
  const bool counts = how_.training || place < samples_;
  const std::int64_t body = options_.context - specials;
  const std::int64_t first = order_(place) * body;
  const auto count = static_cast<std::size_t>(std::min(body, dataset_->tokens() - first));
  Tokens tokens(count);
  Units units(count);
  {
    const std::lock_guard lock(mutex_);
    dataset_->read(first, tokens);
    dataset_->read_units(first, units);
  }
  Arranged sample = arrange(tokens, units, options_.sentence_order, how_.seed, place);
  const std::vector<Masked> masked = mask_units(sample.tokens, sample.units, options_.mask, place);
  Tokens positions, targets, levels;
  for (const Masked& one : masked) {
    if (!counts) break;
    positions.push_back(one.position);
    targets.push_back(one.token);
    levels.push_back(one.level);
  }
  const auto length = static_cast<std::int32_t>(sample.tokens.size());
  fill_field(fields[0], sample.tokens, options_.context, WordpieceTokenizer::pad);
  fill_field(fields[1], sample.segments, options_.context, 0);
  fill_field(fields[2], std::array{length}, 1, 0);
  fill_field(fields[3], positions, slots_, -1);
  fill_field(fields[4], targets, slots_, -1);
  fill_field(fields[5], levels, slots_, -1);
  fill_field(fields[6], std::array{counts ? sample.order : -1}, 1, -1);
}

}  // namespace trireme
