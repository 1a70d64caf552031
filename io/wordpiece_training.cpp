#include "io/wordpiece_training.h"

#include <algorithm>
#include <set>
#include <utility>

#include "io/chinese_text.h"
#include "io/utf8.h"
#include "io/wordpiece_tokenizer.h"

namespace trireme {
namespace {

constexpr std::size_t most_words = 100'000;  ///< that pieces are made from, the commonest

using Counted = std::pair<std::string, std::int64_t>;

std::vector<Counted> by_count(std::vector<Counted> counted) {
  std::ranges::sort(counted, [](const Counted& a, const Counted& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  return counted;
}

/// The word's characters as pieces: all but the first go on.
std::vector<std::string> spell(std::string_view word) {
  std::vector<std::string> pieces;
  while (!word.empty()) {
    const std::size_t bytes = std::max<std::size_t>(first_code_point(word).bytes, 1);
    pieces.push_back((pieces.empty() ? "" : std::string(wordpiece_continues)).append(word, 0, bytes));
    word.remove_prefix(bytes);
  }
  return pieces;
}

/// Joins the commonest pair of neighbours again and again.
class PairJoiner {
 public:
  explicit PairJoiner(const std::vector<Counted>& words) {
    for (const auto& [word, count] : words) {
      words_.push_back({spell(word), count});
      count_pairs(words_.size() - 1, 1);
    }
  }

  /// The piece that a pair makes; empty where no pair occurs twice.
  std::string join() {
    const auto best = std::ranges::max_element(pairs_, [](const auto& a, const auto& b) {
      return a.second.count != b.second.count ? a.second.count < b.second.count : a.first > b.first;
    });
    if (best == pairs_.end() || best->second.count < 2) return {};
    const auto [left, right] = best->first;
    const std::string joined = left + right.substr(wordpiece_continues.size());
    const std::set<std::size_t> where = best->second.words;
    for (const std::size_t number : where) {
      count_pairs(number, -1);
      std::vector<std::string>& pieces = words_[number].pieces;
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
        if (pieces[i] != left || pieces[i + 1] != right) continue;
        pieces[i] = joined;
        pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
      count_pairs(number, 1);
    }
    return joined;
  }

 private:
  struct Word {
    std::vector<std::string> pieces;
    std::int64_t count;
  };
  struct Pair {
    std::int64_t count = 0;
    std::set<std::size_t> words;  ///< that have or had it
  };

  void count_pairs(std::size_t number, int sign) {
    const auto& [pieces, count] = words_[number];
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      Pair& pair = pairs_[{pieces[i], pieces[i + 1]}];
      pair.count += sign * count;
      if (sign > 0) pair.words.insert(number);
    }
  }

  std::vector<Word> words_;
  std::map<std::pair<std::string, std::string>, Pair> pairs_;
};

}  // namespace

std::size_t word_bytes(std::string_view text) {
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const CodePoint point = first_code_point(text.substr(bytes));
    if (!is_word_character(point.value)) return bytes > 0 ? bytes : std::max<std::size_t>(point.bytes, 1);
    bytes += point.bytes;
  }
  return bytes;
}

void WordpieceTrainer::add(std::string_view text) {
  while (!text.empty()) {
    const std::size_t bytes = word_bytes(text);
    const char32_t first = first_code_point(text).value;
    if (is_word_character(first)) {
      ++words_[std::string(text.substr(0, bytes))];
    } else if (!is_space(first)) {
      ++characters_[std::string(text.substr(0, bytes))];
    }
    text.remove_prefix(bytes);
  }
}

std::vector<std::string> WordpieceTrainer::pieces(int most) const {
  std::vector<Counted> words = by_count({words_.begin(), words_.end()});
  if (words.size() > most_words) words.resize(most_words);
  std::map<std::string, std::int64_t> characters = characters_;
  for (const auto& [word, count] : words)
    for (const std::string& piece : spell(word)) characters[piece] += count;
  const std::vector<Counted> ranked = by_count({characters.begin(), characters.end()});

  const auto room = static_cast<std::size_t>(std::max(most, 0));
  std::vector<std::string> pieces;
  std::set<std::string> taken;
  const auto take = [&](const std::string& piece) {
    if (pieces.size() < room && taken.insert(piece).second) pieces.push_back(piece);
  };
  const std::size_t at_first = std::min(ranked.size(), std::max<std::size_t>(room - room / 4, 1));
  for (std::size_t i = 0; i < at_first; ++i) take(ranked[i].first);
  PairJoiner joiner(words);
  while (pieces.size() < room) {
    const std::string piece = joiner.join();
    if (piece.empty()) break;
    take(piece);
  }
  for (const auto& [piece, count] : ranked) take(piece);
  return pieces;
}

}  // namespace trireme
