// What Chinese text goes through before it becomes tokens: one width, one script; and how it falls into sentences.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/opencc.h"

namespace trireme {

/// How text is made alike. Applying it twice is applying it once.
struct TextForm {
  /// Full-width letters, digits and signs become ASCII, half-width katakana and brackets full-width; the ideographic
  /// space becomes a space. Chinese punctuation (，！？：；（）) stays: it is what a Chinese sentence is written with.
  bool fold_width = false;
  bool simplify = false;  ///< traditional characters become simplified ones
  bool operator==(const TextForm&) const = default;
};

class TextNormalizer {
 public:
  /// Refuses to simplify where OpenCC is not there.
  explicit TextNormalizer(const TextForm& form);
  const TextForm& form() const { return form_; }
  /// `text` is UTF-8.
  std::string operator()(std::string_view text) const;

 private:
  TextForm form_;
  std::unique_ptr<ScriptConverter> simplifier_;
};

/// The sentences of a line, one after the other with nothing left out: each ends with a mark (。！？!?…) and the quotes
/// and brackets that close after it.
std::vector<std::string_view> split_sentences(std::string_view line);

bool is_space(char32_t character);
bool is_han(char32_t character);
/// Letters, digits and marks of scripts that put spaces between words. Han and kana are words by themselves.
bool is_word_character(char32_t character);

}  // namespace trireme
