// How a WordPiece vocabulary is made.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace trireme {

/// Bytes of the word that text begins with: a run of word characters, or one character of any other kind.
std::size_t word_bytes(std::string_view text);

/// Counts the words of a text and chooses pieces for them. The same text gives the same pieces on any machine.
class WordpieceTrainer {
 public:
  void add(std::string_view text);
  /// At most so many; see WordpieceTokenizer::train.
  std::vector<std::string> pieces(int most) const;

 private:
  std::unordered_map<std::string, std::int64_t> words_;  ///< of scripts with spaces
  std::map<std::string, std::int64_t> characters_;       ///< all others
};

}  // namespace trireme
