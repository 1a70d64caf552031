#include "io/labelled_source.h"

#include <algorithm>
#include <array>
#include <utility>

#include "io/wordpiece_tokenizer.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr int least_context = 4;  ///< [CLS], a token of each text, [SEP]; two texts lose more than that

std::int64_t documents_in(const TokenDataset& dataset, int context) {
  if (context < least_context) refuse("model.context={}, expected at least {}", context, least_context);
  if (dataset.labelled_by() == LabelledBy::nothing || dataset.tokenizer().kind != WordpieceTokenizer::kind)
    refuse("{}: has no labels; make a data set that has with 'trireme pack labels'", dataset.name());
  if (dataset.documents() < 1) refuse("{}: holds no texts", dataset.name());
  return dataset.documents();
}

/// Cuts two texts so that together they have at most `most` tokens.
void shorten(Tokens& first, Tokens& second, std::size_t most) {
  while (first.size() + second.size() > most) (first.size() >= second.size() ? first : second).pop_back();
}

}  // namespace

ArrangedText arrange_text(std::span<const std::int32_t> text, int context) {
  const auto between = std::ranges::find(text, WordpieceTokenizer::separate);
  const bool pair = between != text.end();
  Tokens first(text.begin(), between);
  Tokens other(pair ? between + 1 : between, text.end());
  shorten(first, other, static_cast<std::size_t>(context) - (pair ? 3 : 2));

  ArrangedText result{.tokens = {WordpieceTokenizer::classify}, .kept = first.size()};
  const auto add = [&](const Tokens& tokens, std::int32_t segment) {
    result.tokens.insert(result.tokens.end(), tokens.begin(), tokens.end());
    result.tokens.push_back(WordpieceTokenizer::separate);
    result.segments.resize(result.tokens.size(), segment);
  };
  add(first, 0);
  if (pair) add(other, 1);
  return result;
}

void write_text_fields(const ArrangedText& text, int context, std::span<std::byte* const> fields) {
  fill_field(fields[0], text.tokens, context, WordpieceTokenizer::pad);
  fill_field(fields[1], text.segments, context, 0);
  fill_field(fields[2], std::array{static_cast<std::int32_t>(text.tokens.size())}, 1, 0);
  fill_field(fields[3], Tokens(text.tokens.size()), context, -1);
}

LabelledSource::LabelledSource(std::shared_ptr<TokenDataset> dataset, int context, const SourceOptions& options)
    : dataset_(std::move(dataset)),
      context_(context),
      options_(options),
      order_(documents_in(*dataset_, context), options.seed, options.training) {
  label_count_ = static_cast<std::int32_t>(labels_of(dataset_->tokenizer()).names.size());
}

std::vector<Field> LabelledSource::fields(std::int64_t) const {
  std::vector<Field> fields = {{"tokens", DType::i32, {context_}},
                               {"segments", DType::i32, {context_}},
                               {"length", DType::i32, {}},
                               {"within", DType::i32, {context_}}};
  if (labels_tokens()) {
    fields.push_back({"labels", DType::i32, {context_}});
  } else {
    fields.push_back({"label", DType::i32, {}});
  }
  return fields;
}

void LabelledSource::read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) {
  const std::int64_t place = batch * options_.global_batch + index;
  const bool counts = options_.training || place < samples();
  const std::int64_t number = order_(place);
  Tokens text, labels(1);
  {
    const std::lock_guard lock(mutex_);
    const TokenDataset::Extent extent = dataset_->document(number);
    text.resize(static_cast<std::size_t>(extent.count));
    dataset_->read(extent.first, text);
    if (labels_tokens()) labels.resize(text.size());
    dataset_->read_labels(labels_tokens() ? extent.first : number, labels);
  }
  if (const auto most = std::ranges::max(labels); most >= label_count_)
    refuse("{}: damaged: text {} has label {} of {}", dataset_->name(), number, most, label_count_);
  text.pop_back();  // [SEP], of which one stands between two texts
  const ArrangedText arranged = arrange_text(text, context_);
  write_text_fields(arranged, context_, fields);
  if (!labels_tokens()) return fill_field(fields[4], std::array{counts ? labels[0] : -1}, 1, -1);
  labels.resize(arranged.kept);
  labels.insert(labels.begin(), -1);  // [CLS]
  if (!counts) labels.clear();
  fill_field(fields[4], labels, context_, -1);
}

}  // namespace trireme
