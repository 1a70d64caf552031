#include "app/workloads/text_predictor.h"

#include <algorithm>
#include <array>

#include "app/inference.h"
#include "io/labelled_source.h"
#include "io/wordpiece_tokenizer.h"
#include "kernels/error.h"
#include "model/label_spans.h"

namespace trireme {
namespace {

using Piece = WordpieceTokenizer::Piece;

/// Code points of UTF-8.
std::size_t characters_in(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char byte) { return (byte & 0xC0) != 0x80; }));
}

class TextPredictor : public Predictor {
 public:
  TextPredictor(const TokenizerBlob& tokenizer, int context) : tokenizer_(tokenizer.model), context_(context) {}

 protected:
  /// Of so many rows: tokens, or 1, the whole text.
  std::vector<float> logits(Inference& model, const std::vector<std::int32_t>& tokens, std::int64_t rows) const {
    const auto context = static_cast<std::size_t>(context_);
    std::vector<std::int32_t> padded(context), segments(context), within(context);
    std::int32_t length = 0;
    const std::array<HostField, 4> fields = {
        HostField{DType::i32, {context_}, padded.data()}, HostField{DType::i32, {context_}, segments.data()},
        HostField{DType::i32, {}, &length}, HostField{DType::i32, {context_}, within.data()}};
    const std::array<std::byte*, 4> room = {
        reinterpret_cast<std::byte*>(padded.data()), reinterpret_cast<std::byte*>(segments.data()),
        reinterpret_cast<std::byte*>(&length), reinterpret_cast<std::byte*>(within.data())};
    write_text_fields(arrange_text(tokens, context_), context_, room);
    return model.logits(fields, std::ssize(tokenizer_.labels().names), {.count = rows});
  }

  std::vector<std::int32_t> encode(std::string_view text, const std::string& input) const {
    std::vector<std::int32_t> tokens = tokenizer_.encode(text);
    if (tokens.empty()) refuse("predict: '{}': found no text, expected some", input);
    return tokens;
  }

  WordpieceTokenizer tokenizer_;
  int context_;
};

/// A text, or two with a TAB between them, has one label.
class WholeTextPredictor final : public TextPredictor {
 public:
  using TextPredictor::TextPredictor;

  Prediction predict(Inference& model, const std::string& input) const override {
    return {.choices = ranked(logits(model, tokens_of(input), 1), tokenizer_.labels().names)};
  }

 private:
  std::vector<std::int32_t> tokens_of(const std::string& input) const {
    const auto tab = input.find('\t');
    std::vector<std::int32_t> tokens = encode(input.substr(0, tab), input);
    if (tab == std::string::npos) return tokens;
    if (input.find('\t', tab + 1) != std::string::npos)
      refuse("predict: '{}': found more than two texts, expected TEXT or TEXT<TAB>TEXT", input);
    const std::vector<std::int32_t> other = encode(input.substr(tab + 1), input);
    tokens.push_back(WordpieceTokenizer::separate);
    tokens.insert(tokens.end(), other.begin(), other.end());
    return tokens;
  }
};

/// Each word has the label of its first piece, as in training.
class SpanPredictor final : public TextPredictor {
 public:
  SpanPredictor(const TokenizerBlob& tokenizer, int context)
      : TextPredictor(tokenizer, context), names_(span_labels(tokenizer_.labels().names)) {}

  Prediction predict(Inference& model, const std::string& input) const override {
    const std::vector<std::int32_t> tokens = encode(input, input);
    const std::vector<float> logits = this->logits(model, tokens, context_);
    Prediction result{.tells_spans = true, .text = tokenizer_.normalize(input)};
    const std::vector<Piece> pieces = tokenizer_.pieces_of(result.text);
    const std::size_t kept = arrange_text(tokens, context_).kept;
    const auto& labels = tokenizer_.labels().names;
    struct Word {
      std::size_t first, end;  ///< bytes
      double probability;
    };
    std::vector<Word> words;
    std::vector<std::int32_t> found;
    for (std::size_t i = 0; i < kept; ++i) {
      const Piece& piece = pieces[i];
      if (!piece.begins_word) {
        words.back().end = piece.first + piece.bytes;
        continue;
      }
      const auto of_token = std::span(logits).subspan((1 + i) * labels.size(), labels.size());  // after [CLS]
      found.push_back(likeliest(of_token));
      words.push_back({piece.first, piece.first + piece.bytes, ranked(of_token, labels).front().probability});
    }
    for (const auto& [type, first, count] : spans_of(found, names_)) {
      const std::span<const Word> within(&words[first], count);
      const std::string_view text = std::string_view(result.text).substr(within.front().first);
      const std::string_view own = text.substr(0, within.back().end - within.front().first);
      const std::size_t begin = characters_in(std::string_view(result.text).substr(0, within.front().first));
      result.spans.push_back({.label = std::string(type),
                              .text = std::string(own),
                              .begin = begin,
                              .end = begin + characters_in(own),
                              .probability = std::ranges::min(within, {}, &Word::probability).probability});
    }
    return result;
  }

 private:
  std::vector<SpanLabel> names_;
};

}  // namespace

std::unique_ptr<Predictor> make_text_predictor(const TokenizerBlob& tokenizer, int context) {
  if (labels_of(tokenizer).kind == LabelSet::Kind::tokens) return std::make_unique<SpanPredictor>(tokenizer, context);
  return std::make_unique<WholeTextPredictor>(tokenizer, context);
}

}  // namespace trireme
