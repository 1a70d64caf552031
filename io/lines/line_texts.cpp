#include "io/lines/line_texts.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <unordered_set>

#include "io/lines/draws.h"
#include "io/lines/receipt_text.h"
#include "io/text_reader.h"
#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

std::uint64_t hash_of(const std::string& text) { return XXH3_64bits(text.data(), text.size()); }

Draws draws_of(std::uint64_t seed, LineSplit split, std::int64_t number, int attempt = 0) {
  const std::uint64_t stream = stream_of(split == LineSplit::train ? "train text" : "validation text");
  return {seed + (static_cast<std::uint64_t>(attempt) << 32), stream + static_cast<std::uint64_t>(number)};
}

class ReceiptTexts final : public LineTexts {
 public:
  ReceiptTexts(std::uint64_t seed, std::int64_t lines) : seed_(seed) {
    for (std::int64_t line = 0; line < lines; ++line) trained_.insert(hash_of(text(LineSplit::train, line)));
  }

  std::string text(LineSplit split, std::int64_t number) const override {
    for (int attempt = 0;; ++attempt) {
      Draws draws = draws_of(seed_, split, number, attempt);
      std::string field = receipt_field(draws);
      if (split == LineSplit::train || !trained_.contains(hash_of(field))) return field;
    }
  }
  std::string characters() const override { return receipt_characters(); }
  std::string place(LineSplit, std::int64_t number) const override { return fmt::format("receipt field {}", number); }

 private:
  std::uint64_t seed_;
  std::unordered_set<std::uint64_t> trained_;
};

/// Places of a text where a character begins.
std::vector<std::size_t> beginnings(std::string_view text) {
  std::vector<std::size_t> places;
  for (std::size_t at = 0; at < text.size(); at += std::max<std::size_t>(1, first_code_point(text.substr(at)).bytes))
    places.push_back(at);
  return places;
}

class CorpusTexts final : public LineTexts {
 public:
  CorpusTexts(std::uint64_t seed, std::vector<Paragraph> paragraphs, int longest, double validation_share)
      : seed_(seed), longest_(longest) {
    const auto threshold = static_cast<std::uint64_t>(validation_share * 0x1p64);
    for (Paragraph& paragraph : paragraphs) {
      for (const std::size_t at : beginnings(paragraph.text))
        ++counts_[paragraph.text.substr(at, first_code_point(std::string_view(paragraph.text).substr(at)).bytes)];
      const bool held_out = validation_share > 0 && hash_of(paragraph.text) < threshold;
      Part& part = parts_[held_out ? 1 : 0];
      part.bytes += paragraph.text.size();
      part.ends.push_back(part.bytes);
      part.paragraphs.push_back(std::move(paragraph));
    }
    if (parts_[0].bytes == 0 || (validation_share > 0 && parts_[1].bytes == 0))
      refuse("pack.validation_share={}: found too few paragraphs to split them; give more text", validation_share);
  }

  std::string text(LineSplit split, std::int64_t number) const override {
    Draws draws = draws_of(seed_, split, number);
    const Paragraph& paragraph = draw_paragraph(split, draws);
    const std::vector<std::size_t> places = beginnings(paragraph.text);
    const int count = static_cast<int>(places.size());
    const int length = std::min(count, draws.among(std::min(4, longest_), longest_));
    const int first = draws.below(count - length + 1);
    const std::size_t begin = places[static_cast<std::size_t>(first)];
    const std::size_t last = static_cast<std::size_t>(first) + static_cast<std::size_t>(length);
    const std::size_t end = last < places.size() ? places[last] : paragraph.text.size();
    std::string piece = paragraph.text.substr(begin, end - begin);
    piece.erase(0, piece.find_first_not_of(' '));
    piece.erase(piece.find_last_not_of(' ') + 1);
    return piece;
  }

  std::string characters() const override {
    std::vector<std::pair<std::string, std::int64_t>> ranked(counts_.begin(), counts_.end());
    std::ranges::sort(
        ranked, [](const auto& a, const auto& b) { return std::tie(b.second, a.first) < std::tie(a.second, b.first); });
    std::string all;
    for (const auto& [character, count] : ranked) all += character;
    return all;
  }

  std::string place(LineSplit split, std::int64_t number) const override {
    Draws draws = draws_of(seed_, split, number);
    return draw_paragraph(split, draws).place;
  }

 private:
  struct Part {
    std::vector<Paragraph> paragraphs;
    std::vector<std::size_t> ends;  ///< bytes up to the end of each
    std::size_t bytes = 0;
  };

  /// A long paragraph comes as often as its text is long.
  const Paragraph& draw_paragraph(LineSplit split, Draws& draws) const {
    const Part& part = parts_[split == LineSplit::train ? 0 : 1];
    const std::uint64_t word = std::uint64_t{draws.word()} << 32 | draws.word();
    const auto after = std::ranges::upper_bound(part.ends, word % part.bytes);
    return part.paragraphs[static_cast<std::size_t>(after - part.ends.begin())];
  }

  std::uint64_t seed_;
  int longest_;
  std::array<Part, 2> parts_;
  std::map<std::string, std::int64_t> counts_;
};

/// Runs of white space as one space, none at the ends.
std::string squeezed(std::string_view line) {
  std::string text;
  bool space = false;
  while (!line.empty()) {
    const CodePoint point = first_code_point(line);
    const bool is_space = point.value <= U' ' || point.value == U'\u00A0' || point.value == U'\u3000' ||
                          point.value == U'\uFEFF' || (point.value >= U'\u2000' && point.value <= U'\u200F');
    if (is_space) {
      space = !text.empty();
    } else {
      if (space) text += ' ';
      text += line.substr(0, point.bytes);
      space = false;
    }
    line.remove_prefix(std::max<std::size_t>(1, point.bytes));
  }
  return text;
}

}  // namespace

std::unique_ptr<LineTexts> make_receipt_texts(std::uint64_t seed, std::int64_t lines) {
  return std::make_unique<ReceiptTexts>(seed, lines);
}

std::vector<Paragraph> read_paragraphs(const std::vector<fs::path>& inputs, const std::string& encoding) {
  std::vector<Paragraph> paragraphs;
  for (const fs::path& input : inputs) {
    std::vector<fs::path> files = {input};
    if (fs::is_directory(input)) {
      files.clear();
      for (const auto& entry : fs::recursive_directory_iterator(input))
        if (entry.is_regular_file() && entry.path().extension() == ".txt") files.push_back(entry.path());
      std::ranges::sort(files);
    }
    for (const fs::path& file : files) {
      TextReader reader(file, encoding, std::size_t{1} << 20);
      std::int64_t number = 0;
      for (std::string_view line = reader.next_line(); !line.empty(); line = reader.next_line()) {
        ++number;
        std::string text = squeezed(line);
        if (!text.empty()) paragraphs.push_back({std::move(text), fmt::format("{}:{}", file.string(), number)});
      }
    }
  }
  if (paragraphs.empty()) refuse("pack.input: found no text in it, expected text files or folders with *.txt");
  return paragraphs;
}

std::unique_ptr<LineTexts> make_corpus_texts(std::uint64_t seed, std::vector<Paragraph> paragraphs, int longest,
                                             double validation_share) {
  return std::make_unique<CorpusTexts>(seed, std::move(paragraphs), longest, validation_share);
}

}  // namespace trireme
