#include "io/segmenter.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>

#include "io/chinese_text.h"
#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {
namespace {

bool is_ascii_letter_or_digit(char32_t c) {
  return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z') || (c >= U'0' && c <= U'9');
}

/// Characters that words of the dictionary are made of.
bool is_of_words(char32_t c) {
  constexpr std::u32string_view signs = U"+#&._%-";
  return (c >= 0x4E00 && c <= 0x9FD5) || is_ascii_letter_or_digit(c) || signs.find(c) != std::u32string_view::npos;
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  while (!line.empty()) {
    const auto end = std::min(line.find(' '), line.size());
    if (end > 0) fields.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return fields;
}

bool is_entity_tag(std::string_view tag) {
  return tag.starts_with("nr") || tag.starts_with("ns") || tag.starts_with("nt") || tag.starts_with("nz");
}

}  // namespace

Segmenter::Segmenter(const std::filesystem::path& dictionary) {
  std::ifstream stream(dictionary, std::ios::binary);
  if (!stream) refuse("dictionary: {} cannot be read", dictionary.string());
  text_.assign(std::istreambuf_iterator<char>(stream), {});
  if (const std::size_t valid = valid_utf8_bytes(text_); valid != text_.size())
    refuse("dictionary: {}: byte {} is not UTF-8", dictionary.string(), valid);
  double total = 0;
  std::size_t number = 0;
  for (std::string_view rest = text_; !rest.empty();) {
    ++number;
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto fields = split(line);
    if (fields.empty()) continue;
    std::int64_t frequency = 0;
    const std::string_view digits = fields.size() < 2 ? std::string_view{} : fields[1];
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), frequency);
    if (read.ec != std::errc{} || read.ptr != digits.data() + digits.size() || frequency < 0)
      refuse("dictionary: {}:{}: found '{}', expected WORD FREQUENCY [TAG]", dictionary.string(), number, line);
    total += static_cast<double>(frequency);
    if (frequency == 0) continue;  // not to be cut out
    const bool several = first_code_point(fields[0]).bytes < fields[0].size();
    entries_.push_back({fields[0], std::log(static_cast<double>(frequency)),
                        several && fields.size() > 2 && is_entity_tag(fields[2])});
  }
  if (entries_.empty()) refuse("dictionary: {} holds no words", dictionary.string());
  log_total_ = std::log(total);
  // Of a word that is there twice the last counts.
  std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.word < b.word; });
  const auto kept =
      std::unique(entries_.rbegin(), entries_.rend(), [](const Entry& a, const Entry& b) { return a.word == b.word; });
  entries_.erase(entries_.begin(), kept.base());
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    const auto at = by_first_.try_emplace(first_code_point(entries_[i].word).value, Range{i, i}).first;
    at->second.end = i + 1;
  }
}

void Segmenter::find_words(std::string_view run, const std::vector<std::size_t>& bounds, std::size_t at,
                           std::vector<Candidate>& found) const {
  found.clear();
  const std::size_t first = bounds[at];
  const auto start = by_first_.find(first_code_point(run.substr(first)).value);
  if (start == by_first_.end()) return;
  auto low = entries_.begin() + start->second.first;
  auto high = entries_.begin() + start->second.end;
  for (std::size_t end = at + 1; end < bounds.size() && low != high; ++end) {
    const std::string_view prefix = run.substr(first, bounds[end] - first);
    // Only entries that begin with the prefix stay; the prefix itself, where it is a word, is the first of them.
    const auto head = [&](const Entry& entry) { return entry.word.substr(0, prefix.size()); };
    low = std::lower_bound(low, high, prefix, [&](const Entry& entry, std::string_view p) { return head(entry) < p; });
    high = std::upper_bound(low, high, prefix, [&](std::string_view p, const Entry& entry) { return p < head(entry); });
    if (low != high && low->word.size() == prefix.size()) found.push_back({end, &*low});
  }
}

void Segmenter::cut_run(std::string_view run, std::vector<Word>& words) const {
  std::vector<std::size_t> bounds{0};  // of the characters
  while (bounds.back() < run.size())
    bounds.push_back(bounds.back() + first_code_point(run.substr(bounds.back())).bytes);
  const std::size_t characters = bounds.size() - 1;

  // From the end: the likeliest way to cut what follows each character. Of equal ones the longer word.
  struct Best {
    double log_probability = 0;
    std::size_t end = 0;
    const Entry* entry = nullptr;
  };
  std::vector<Best> best(characters + 1);
  std::vector<Candidate> candidates;
  for (std::size_t at = characters; at-- > 0;) {
    find_words(run, bounds, at, candidates);
    // A single character that the dictionary does not have stands in it once.
    if (candidates.empty()) candidates.push_back({at + 1, nullptr});
    bool first = true;
    for (const auto& [end, entry] : candidates) {
      const double value = (entry != nullptr ? entry->log_frequency : 0.0) - log_total_ + best[end].log_probability;
      if (first || value >= best[at].log_probability) best[at] = {value, end, entry};
      first = false;
    }
  }

  std::size_t letters = characters + 1;  // where single letters and digits that wait to become one word begin
  const auto close_letters = [&](std::size_t at) {
    if (letters > characters) return;
    words.push_back({run.substr(bounds[letters], bounds[at] - bounds[letters]),
                     at - letters > 1 ? UnitLevel::word : UnitLevel::character});
    letters = characters + 1;
  };
  for (std::size_t at = 0; at < characters; at = best[at].end) {
    const bool single = best[at].end == at + 1;
    if (single && is_ascii_letter_or_digit(first_code_point(run.substr(bounds[at])).value)) {
      letters = std::min(letters, at);
      continue;
    }
    close_letters(at);
    const bool entity = best[at].entry != nullptr && best[at].entry->entity;
    words.push_back({run.substr(bounds[at], bounds[best[at].end] - bounds[at]), entity   ? UnitLevel::entity
                                                                                : single ? UnitLevel::character
                                                                                         : UnitLevel::word});
  }
  close_letters(characters);
}

std::vector<Segmenter::Word> Segmenter::cut(std::string_view text) const {
  std::vector<Word> words;
  while (!text.empty()) {
    std::size_t bytes = 0;
    while (bytes < text.size()) {
      const CodePoint point = first_code_point(text.substr(bytes));
      if (!is_of_words(point.value)) break;
      bytes += point.bytes;
    }
    if (bytes > 0) {
      cut_run(text.substr(0, bytes), words);
    } else {
      bytes = std::max<std::size_t>(first_code_point(text).bytes, 1);
      words.push_back({text.substr(0, bytes), UnitLevel::character});
    }
    text.remove_prefix(bytes);
  }
  return words;
}

}  // namespace trireme
