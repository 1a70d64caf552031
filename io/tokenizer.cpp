#include "io/tokenizer.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "io/sentencepiece_tokenizer.h"
#include "io/utf8.h"
#include "io/wordpiece_tokenizer.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// One token a character. Its model is the characters themselves, in the order of their tokens.
class CharacterTokenizer final : public Tokenizer {
 public:
  explicit CharacterTokenizer(std::string characters) : model_(std::move(characters)) {
    for (std::string_view rest = model_; !rest.empty();) {
      const CodePoint point = first_code_point(rest);
      const auto token = static_cast<std::int32_t>(first_character + characters_.size());
      if (point.bytes == 0 || !tokens_.emplace(point.value, token).second)
        refuse("characters tokenizer: damaged model");
      characters_.emplace_back(rest.substr(0, point.bytes));
      rest.remove_prefix(point.bytes);
    }
  }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    for (std::size_t position = 0; position < text.size();) {
      const CodePoint point = first_code_point(text.substr(position));
      if (point.bytes == 0) refuse("text to encode: byte {} is not UTF-8", position);
      const auto found = tokens_.find(point.value);
      tokens.push_back(found == tokens_.end() ? unknown : found->second);
      position += point.bytes;
    }
    return tokens;
  }

  std::string decode(std::span<const std::int32_t> tokens) const override {
    std::string text;
    for (const std::int32_t token : tokens) {
      if (token == end_of_text) continue;
      const auto index = static_cast<std::size_t>(token - first_character);
      text += token >= first_character && index < characters_.size() ? std::string_view(characters_[index])
                                                                     : std::string_view("\uFFFD");
    }
    return text;
  }

  TokenizerBlob blob() const override {
    return {"characters", first_character + static_cast<int>(characters_.size()), end_of_text, model_};
  }

  static constexpr std::int32_t end_of_text = 0, unknown = 1, first_character = 2;

 private:
  std::string model_;
  std::vector<std::string> characters_;
  std::unordered_map<char32_t, std::int32_t> tokens_;
};

std::unique_ptr<Tokenizer> train_characters(int vocabulary, const std::vector<std::string_view>& documents) {
  std::map<std::string_view, std::int64_t> counts;
  for (const std::string_view document : documents) {
    for (std::string_view rest = document; !rest.empty();) {
      const std::size_t bytes = first_code_point(rest).bytes;
      ++counts[rest.substr(0, bytes)];
      rest.remove_prefix(bytes);
    }
  }
  std::vector<std::pair<std::string_view, std::int64_t>> ranked(counts.begin(), counts.end());
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  ranked.resize(std::min<std::size_t>(ranked.size(), vocabulary - CharacterTokenizer::first_character));
  std::string model;
  for (const auto& [character, count] : ranked) model += character;
  return std::make_unique<CharacterTokenizer>(std::move(model));
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::load(const TokenizerBlob& blob) {
  std::unique_ptr<Tokenizer> tokenizer;
  if (blob.kind == "characters") {
    tokenizer = std::make_unique<CharacterTokenizer>(blob.model);
  } else if (blob.kind == "bpe" || blob.kind == "unigram") {
    tokenizer = load_sentencepiece(blob);
  } else if (blob.kind == WordpieceTokenizer::kind) {
    tokenizer = std::make_unique<WordpieceTokenizer>(blob.model);
  } else {
    refuse("tokenizer kind: found '{}', expected bpe, unigram, characters or wordpiece", blob.kind);
  }
  const TokenizerBlob loaded = tokenizer->blob();
  if (loaded.vocabulary != blob.vocabulary || loaded.end_of_text != blob.end_of_text) {
    refuse("{} tokenizer: its model has {} tokens and end of text {}, but {} and {} were recorded", blob.kind,
           loaded.vocabulary, loaded.end_of_text, blob.vocabulary, blob.end_of_text);
  }
  return tokenizer;
}

void Tokenizer::check(std::string_view kind, int vocabulary) {
  const bool characters = kind == "characters";
  const bool wordpiece = kind == WordpieceTokenizer::kind;
  if (!characters && !wordpiece && kind != "bpe" && kind != "unigram") {
    refuse("tokenizer kind: found '{}', expected bpe, unigram, characters or wordpiece", kind);
  }
  const int least = characters  ? CharacterTokenizer::first_character + 1
                    : wordpiece ? WordpieceTokenizer::specials + 1
                                : least_sentencepiece_vocabulary;
  if (vocabulary < least)
    refuse("vocabulary of a {} tokenizer: found {}, expected at least {}", kind, vocabulary, least);
}

std::unique_ptr<Tokenizer> Tokenizer::train(std::string_view kind, int vocabulary,
                                            const std::vector<std::string_view>& documents) {
  check(kind, vocabulary);
  bool empty = true;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::size_t valid = valid_utf8_bytes(documents[i]);
    if (valid != documents[i].size()) {
      refuse("text to train a tokenizer on: byte {} of document {} is not UTF-8", valid, i);
    }
    empty = empty && documents[i].empty();
  }
  if (empty) refuse("text to train a tokenizer on: there is none");
  if (kind == WordpieceTokenizer::kind) return WordpieceTokenizer::train(vocabulary, documents, {});
  return kind == "characters" ? train_characters(vocabulary, documents)
                              : train_sentencepiece(kind, vocabulary, documents);
}

}  // namespace trireme
