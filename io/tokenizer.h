// Text to tokens and back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/dataset.h"

namespace trireme {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  virtual std::string decode(std::span<const std::int32_t> tokens) const = 0;
  virtual TokenizerBlob blob() const = 0;

  static std::unique_ptr<Tokenizer> load(const TokenizerBlob& blob);
  /// kind: "bpe", "unigram" (SentencePiece, trained on the text) or "characters" (every code point that occurs, most
  /// frequent first, at most `vocabulary`). Refuses other kinds, text that is not UTF-8, and an impossible vocabulary.
  static std::unique_ptr<Tokenizer> train(std::string_view kind, int vocabulary,
                                          const std::vector<std::string_view>& documents);
};

}  // namespace trireme
