// Encodings of Chinese text, by ICU: GB18030 (which holds GBK and GB2312) and Big5, given or detected.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace trireme {

/// The encoding of a file, from how it begins: "utf-8" where that much of it is valid, else "gb18030" or "big5" by how
/// often characters occur. Refuses a file that is neither, or that cannot be read, naming it.
std::string detect_encoding(const std::filesystem::path& file);

/// Turns text that comes in parts into UTF-8.
class TextDecoder {
 public:
  /// encoding: "gb18030" or "big5".
  explicit TextDecoder(std::string_view encoding);
  ~TextDecoder();

  static constexpr std::int64_t all_valid = -1;
  /// Appends to `text`; what ends in the midst of a character waits for the next part, unless this is the `last`.
  /// Returns all_valid, or the offset, over all parts, of the first byte that is not of the encoding.
  std::int64_t decode(std::string_view part, bool last, std::string& text);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
