// Text to grey pictures: HarfBuzz places the glyphs, FreeType draws them. One thread at a time may use a font.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

/// How much of each pixel is covered by ink, 0..255, row-major.
struct Coverage {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;
};

class Font {
 public:
  /// A file of FreeType's formats; FILE#2 is the third face of a collection. Refuses what is no scalable font.
  explicit Font(const std::string& name);
  ~Font();
  Font(Font&&) noexcept;

  const std::string& name() const;
  bool has(char32_t character) const;
  /// The first character of a UTF-8 text that the font has no glyph for, or empty. White space needs none.
  std::string_view missing(std::string_view text) const;
  /// A text in letters of `size` pixels, `spacing` more pixels between them, cut to what is inked; empty where nothing
  /// is.
  Coverage draw(std::string_view text, int size, double spacing);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
