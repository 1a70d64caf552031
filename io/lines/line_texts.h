// Texts to draw lines of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace trireme {

enum class LineSplit { train, validation };

/// Endless texts for each split. Validation has no receipt field that is one of training's first `lines`, and no
/// paragraph that training has. Any thread may ask.
class LineTexts {
 public:
  virtual ~LineTexts() = default;
  /// Number `number` of a split, UTF-8.
  virtual std::string text(LineSplit split, std::int64_t number) const = 0;
  /// All characters that occur, most frequent first where that is known.
  virtual std::string characters() const = 0;
  /// Where text() has a text from, for messages.
  virtual std::string place(LineSplit split, std::int64_t number) const = 0;
};

std::unique_ptr<LineTexts> make_receipt_texts(std::uint64_t seed, std::int64_t lines);

/// A line of a text file.
struct Paragraph {
  std::string text;
  std::string place;  ///< file:line
};
/// Paragraphs of text files, of folders their *.txt: white space runs become one space. Refuses what is missing, not of
/// the encoding (as of TextReader) or empty.
std::vector<Paragraph> read_paragraphs(const std::vector<std::filesystem::path>& inputs,
                                       const std::string& encoding = "utf-8");

/// Refuses too little text to be split.
std::unique_ptr<LineTexts> make_corpus_texts(std::uint64_t seed, std::vector<Paragraph> paragraphs, int longest,
                                             double validation_share);

}  // namespace trireme
