// The tokenizers "bpe" and "unigram": SentencePiece (Kudo and Richardson 2018), whose headers only the source sees.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "io/tokenizer.h"

namespace trireme {

/// 256 bytes, unknown, end of text, newline, and one piece.
inline constexpr int least_sentencepiece_vocabulary = 260;

std::unique_ptr<Tokenizer> load_sentencepiece(const TokenizerBlob& blob);
std::unique_ptr<Tokenizer> train_sentencepiece(std::string_view kind, int vocabulary,
                                               const std::vector<std::string_view>& documents);

}  // namespace trireme
