// Chinese text to tokens with what they are part of: words and entities out of a dictionary, and sentences.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "io/segmenter.h"
#include "io/wordpiece_tokenizer.h"

namespace trireme {

struct EncodedText {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> units;  ///< TokenUnit of each
};

class UnitEncoder {
 public:
  /// Both outlive this; without a segmenter only words of scripts with spaces are words.
  UnitEncoder(const WordpieceTokenizer& tokenizer, const Segmenter* segmenter)
      : tokenizer_(tokenizer), segmenter_(segmenter) {}

  /// A line end is the end of a sentence. What is one token is of level character, whatever the dictionary says.
  EncodedText encode(std::string_view text) const;

 private:
  void encode_sentence(std::string_view sentence, EncodedText& out) const;

  const WordpieceTokenizer& tokenizer_;
  const Segmenter* segmenter_;
};

}  // namespace trireme
