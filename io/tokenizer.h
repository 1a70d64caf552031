// Text to tokens and back. Every kind has an end-of-text token, which no text encodes to and which decodes to nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/dataset.h"

namespace trireme {

/// One thread at a time may use a tokenizer.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Refuses text that is not UTF-8, naming the position. "bpe" and "unigram" lose nothing: what they have no piece for
  /// becomes byte tokens. "characters" has one token for all it does not know, "wordpiece" too, and loses white space.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  /// Always UTF-8: what is not text (an unknown character, half a character in byte tokens) becomes U+FFFD.
  virtual std::string decode(std::span<const std::int32_t> tokens) const = 0;
  virtual TokenizerBlob blob() const = 0;

  /// Refuses what `train` would, before there is text.
  static void check(std::string_view kind, int vocabulary);
  /// Refuses a blob that is damaged.
  static std::unique_ptr<Tokenizer> load(const TokenizerBlob& blob);
  /// kind: "bpe", "unigram" (SentencePiece, trained on the text), "characters" (every code point that occurs, most
  /// frequent first, as many as fit) or "wordpiece" (see there; text stays in the form it has). `vocabulary` counts all
  /// tokens, special ones included; "characters" and "wordpiece" may need fewer. The same text gives the same tokenizer
  /// on any machine. Refuses other kinds, text that is not UTF-8, and an impossible vocabulary.
  static std::unique_ptr<Tokenizer> train(std::string_view kind, int vocabulary,
                                          const std::vector<std::string_view>& documents);
};

}  // namespace trireme
