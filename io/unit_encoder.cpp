#include "io/unit_encoder.h"

#include <algorithm>

#include "io/dataset.h"

namespace trireme {
namespace {

std::uint8_t with_level(std::uint8_t unit, UnitLevel level) {
  return static_cast<std::uint8_t>(unit | static_cast<unsigned>(level) << TokenUnit::level_shift);
}

}  // namespace

void UnitEncoder::encode_sentence(std::string_view sentence, EncodedText& out) const {
  const auto pieces = tokenizer_.pieces_of(sentence);
  if (pieces.empty()) return;
  const auto words = segmenter_ != nullptr ? segmenter_->cut(sentence) : std::vector<Segmenter::Word>{};
  // A unit ends where neither the tokenizer nor the dictionary sees a word go on.
  std::size_t word = 0, word_end = 0;
  UnitLevel level = UnitLevel::character;
  for (std::size_t i = 0; i < pieces.size();) {
    const auto bytes_before = [&] { return static_cast<std::size_t>(words[word].text.data() - sentence.data()); };
    while (word < words.size() && bytes_before() <= pieces[i].first) {
      word_end = bytes_before() + words[word].text.size();
      level = words[word++].level;
    }
    std::size_t end = i + 1;
    while (end < pieces.size() && (!pieces[end].begins_word || pieces[end].first < word_end)) ++end;
    const UnitLevel of_unit = end - i == 1 ? UnitLevel::character : std::max(level, UnitLevel::word);
    for (std::size_t at = i; at < end; ++at) {
      std::uint8_t unit = with_level(at == i ? TokenUnit::begins : 0, of_unit);
      if (at == 0) unit |= TokenUnit::begins_sentence;
      out.tokens.push_back(pieces[at].token);
      out.units.push_back(unit);
    }
    i = end;
  }
}

EncodedText UnitEncoder::encode(std::string_view text) const {
  EncodedText out;
  const std::string normal = tokenizer_.normalize(text);
  for (std::string_view rest = normal; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    for (const std::string_view sentence : split_sentences(line)) encode_sentence(sentence, out);
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  return out;
}

}  // namespace trireme
