// The characters that a line recogniser knows, as classes of connectionist temporal classification.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/dataset.h"

namespace trireme {

/// Class 0 is the blank, class i the i-th character. Goes with data sets and checkpoints as a TokenizerBlob of kind
/// "key-set": its model is the characters one after the other, its end of text the blank.
class KeySet {
 public:
  static constexpr std::string_view kind = "key-set";

  /// UTF-8 characters in the order of their classes. Refuses what is not UTF-8, a character that comes twice, and
  /// none at all; `owner` names where they are from.
  KeySet(std::string_view characters, const std::string& owner);
  /// Refuses a blob that is of another kind or damaged.
  explicit KeySet(const TokenizerBlob& blob);
  /// One character a line, as PaddleOCR's key files have it; a line of one space is the space. Empty lines do not
  /// count. The encoding is found out. Refuses lines of several characters, naming file and line.
  static KeySet read(const std::filesystem::path& file);

  TokenizerBlob blob() const;
  int classes() const { return static_cast<int>(characters_.size()) + 1; }
  /// Class of a code point, or none.
  std::optional<std::int32_t> find(char32_t character) const;
  /// Classes of a text that is UTF-8; a character without class leaves `unknown` set to it, and nothing is returned.
  std::vector<std::int32_t> encode(std::string_view text, std::string& unknown) const;
  /// Blanks and negative numbers stand for nothing.
  std::string decode(std::span<const std::int32_t> labels) const;
  const std::string& character(std::int32_t label) const { return characters_[static_cast<std::size_t>(label - 1)]; }

 private:
  std::vector<std::string> characters_;
  std::unordered_map<char32_t, std::int32_t> classes_;
};

}  // namespace trireme
