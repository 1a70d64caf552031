#include "io/lines/line_renderer.h"

#include "io/lines/scan.h"
#include "kernels/error.h"

namespace trireme {

LineRenderer::LineRenderer(const std::vector<std::filesystem::path>& fonts, int height, double distortion)
    : height_(height), distortion_(distortion) {
  for (const auto& font : fonts) fonts_.emplace_back(font.string());
}

RenderedLine LineRenderer::render(std::string_view text, std::uint64_t seed, std::uint64_t stream) {
  Draws draws(seed, stream);
  RenderedLine result;
  const int count = static_cast<int>(fonts_.size());
  const int drawn = draws.below(count);
  Font* font = nullptr;
  for (int i = 0; i < count && font == nullptr; ++i) {
    Font& candidate = fonts_[static_cast<std::size_t>((drawn + i) % count)];
    const std::string_view missing = candidate.missing(text);
    if (missing.empty())
      font = &candidate;
    else if (i == 0)
      result.lacking = missing;
  }
  if (font == nullptr) return result;
  result.other_font = !result.lacking.empty();
  result.lacking.clear();

  // Letters a little larger than they will be, so that turning them costs no sharpness.
  const int letters = height_ + draws.below(height_ / 4 + 1);
  const double spacing = draws.chance(0.25) ? draws.between(-0.02, 0.2) * letters * distortion_ : 0.0;
  const Coverage ink = font->draw(text, letters, spacing);
  if (ink.width == 0) {
    result.lacking = text;  // nothing but white space
    return result;
  }
  result.line = scan(ink, letters, height_, distortion_, draws);
  return result;
}

}  // namespace trireme
