// Texts to scanned lines, with several fonts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/lines/font.h"
#include "io/lines/line_dataset.h"

namespace trireme {

struct RenderedLine {
  Line line;                ///< without labels
  bool other_font = false;  ///< the font that was drawn first lacks a glyph
  std::string lacking;      ///< the glyph that no font has beside the text's others; then there is no line
};

/// One thread at a time.
class LineRenderer {
 public:
  /// Refuses what is no font.
  LineRenderer(const std::vector<std::filesystem::path>& fonts, int height, double distortion);
  /// Line `stream` of a seed: font, size and distortions are drawn from it.
  RenderedLine render(std::string_view text, std::uint64_t seed, std::uint64_t stream);

 private:
  std::vector<Font> fonts_;
  int height_;
  double distortion_;
};

}  // namespace trireme
