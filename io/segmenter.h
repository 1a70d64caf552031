// Chinese text into words, by a dictionary with frequencies: the likeliest of all ways to cut it, if words came
// independently of each other. The dictionary is jieba's dict.txt, or one like it: WORD FREQUENCY [TAG] a line.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace trireme {

/// What knowledge masking takes for one thing.
enum class UnitLevel : std::uint8_t { character, word, entity };

class Segmenter {
 public:
  struct Word {
    std::string_view text;
    UnitLevel level;  ///< character: a single one; entity: a word of tag nr (persons), ns (places), nt, nz
  };

  /// Refuses a file that is not a dictionary, naming the line.
  explicit Segmenter(const std::filesystem::path& dictionary);

  std::size_t words() const { return entries_.size(); }
  /// The words of a text, one after the other with nothing left out. As jieba without its hidden Markov model: runs of
  /// Han characters, ASCII letters, digits and +#&._%- are cut by the dictionary, of the rest each character is by
  /// itself; neighbouring single letters and digits that are no word become one. White space stays a part.
  std::vector<Word> cut(std::string_view text) const;

 private:
  struct Entry {
    std::string_view word;
    double log_frequency;
    bool entity;
  };
  struct Range {
    std::uint32_t first, end;
  };
  struct Candidate {
    std::size_t end;  ///< in characters
    const Entry* entry;
  };
  void cut_run(std::string_view run, std::vector<Word>& words) const;
  /// Entries that are the text from `bounds[at]` on to another of the bounds, the shortest first.
  void find_words(std::string_view run, const std::vector<std::size_t>& bounds, std::size_t at,
                  std::vector<Candidate>& found) const;

  std::string text_;            ///< of the file: entries point into it
  std::vector<Entry> entries_;  ///< sorted by word: what begins alike lies together, so that this is a trie
  std::unordered_map<char32_t, Range> by_first_;
  double log_total_ = 0;
};

}  // namespace trireme
