#include "io/lines/key_set.h"

#include <algorithm>

#include "io/text_reader.h"
#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {

KeySet::KeySet(std::string_view characters, const std::string& owner) {
  while (!characters.empty()) {
    const CodePoint point = first_code_point(characters);
    if (point.bytes == 0) refuse("{}: character {} is not UTF-8", owner, characters_.size() + 1);
    const std::string_view character = characters.substr(0, point.bytes);
    if (!classes_.emplace(point.value, static_cast<std::int32_t>(characters_.size() + 1)).second)
      refuse("{}: found the character '{}' twice, expected each once", owner, character);
    characters_.emplace_back(character);
    characters.remove_prefix(point.bytes);
  }
  if (characters_.empty()) refuse("{}: found no characters, expected a key set", owner);
}

KeySet::KeySet(const TokenizerBlob& blob) : KeySet(blob.model, "key set") {
  if (blob.kind != kind) refuse("key set: found a tokenizer of kind '{}', expected '{}'", blob.kind, kind);
  if (blob.vocabulary != classes())
    refuse("key set: damaged: {} classes were recorded, but there are {}", blob.vocabulary, classes());
}

KeySet KeySet::read(const std::filesystem::path& file) {
  TextReader reader(file, "auto", 4096);
  std::string characters;
  int number = 0;
  for (std::string_view line = reader.next_line(); !line.empty(); line = reader.next_line()) {
    ++number;
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.empty()) continue;
    if (first_code_point(line).bytes != line.size())
      refuse("{}:{}: found '{}', expected one character a line", file.string(), number, line);
    characters += line;
  }
  return KeySet(characters, file.string());
}

TokenizerBlob KeySet::blob() const {
  TokenizerBlob blob{.kind = std::string(kind), .vocabulary = classes()};
  for (const std::string& character : characters_) blob.model += character;
  return blob;
}

std::optional<std::int32_t> KeySet::find(char32_t character) const {
  const auto found = classes_.find(character);
  if (found == classes_.end()) return {};
  return found->second;
}

std::vector<std::int32_t> KeySet::encode(std::string_view text, std::string& unknown) const {
  std::vector<std::int32_t> labels;
  unknown.clear();
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    const auto label = find(point.value);
    if (!label) {
      unknown = text.substr(0, std::max<std::size_t>(point.bytes, 1));
      return {};
    }
    labels.push_back(*label);
    text.remove_prefix(point.bytes);
  }
  return labels;
}

std::string KeySet::decode(std::span<const std::int32_t> labels) const {
  std::string text;
  for (const std::int32_t label : labels)
    if (label > 0 && label < classes()) text += character(label);
  return text;
}

}  // namespace trireme
