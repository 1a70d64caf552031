#include "io/lines/font.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include <hb-ft.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {
namespace {

struct FreeType {
  FreeType() {
    if (FT_Init_FreeType(&library) != 0) fail("FT_Init_FreeType failed");
  }
  ~FreeType() { FT_Done_FreeType(library); }
  FreeType(const FreeType&) = delete;
  FreeType& operator=(const FreeType&) = delete;
  FT_Library library = nullptr;
};

struct FaceDeleter {
  void operator()(FT_Face face) const { FT_Done_Face(face); }
};
struct FontDeleter {
  void operator()(hb_font_t* font) const { hb_font_destroy(font); }
};
struct BufferDeleter {
  void operator()(hb_buffer_t* buffer) const { hb_buffer_destroy(buffer); }
};

/// "FILE#2" to FILE and 2.
std::pair<std::string, int> file_and_face(const std::string& name) {
  const auto hash = name.rfind('#');
  int face = 0;
  if (hash == std::string::npos || std::filesystem::exists(name)) return {name, 0};
  const auto read = std::from_chars(name.data() + hash + 1, name.data() + name.size(), face);
  if (read.ec != std::errc{} || read.ptr != name.data() + name.size() || face < 0) return {name, 0};
  return {name.substr(0, hash), face};
}

struct PlacedGlyph {
  unsigned index = 0;
  double x = 0, y = 0;  ///< of its origin on the baseline, in pixels, y upwards
};

struct Box {
  int left = 0, right = 0, top = 0, bottom = 0;  ///< pixels, y upwards: rows bottom..top-1
  bool empty() const { return left >= right || bottom >= top; }
};

}  // namespace

struct Font::State {
  std::string name;
  FreeType freetype;
  std::unique_ptr<FT_FaceRec_, FaceDeleter> face;
  std::unique_ptr<hb_font_t, FontDeleter> shaper;
  std::unique_ptr<hb_buffer_t, BufferDeleter> buffer;
  int size = 0;

  void set_size(int pixels) {
    if (size == pixels) return;
    if (FT_Set_Pixel_Sizes(face.get(), 0, static_cast<FT_UInt>(pixels)) != 0)
      fail("font {}: cannot be drawn in {} pixels", name, pixels);
    hb_ft_font_changed(shaper.get());
    size = pixels;
  }
  std::vector<PlacedGlyph> place(std::string_view text, double spacing) const;
  /// Draws a glyph into the face's slot; where its pixels are.
  Box render(const PlacedGlyph& glyph) const;
};

std::vector<PlacedGlyph> Font::State::place(std::string_view text, double spacing) const {
  hb_buffer_reset(buffer.get());
  hb_buffer_add_utf8(buffer.get(), text.data(), static_cast<int>(text.size()), 0, static_cast<int>(text.size()));
  hb_buffer_guess_segment_properties(buffer.get());
  hb_buffer_set_direction(buffer.get(), HB_DIRECTION_LTR);
  hb_shape(shaper.get(), buffer.get(), nullptr, 0);
  unsigned count = 0;
  const hb_glyph_info_t* infos = hb_buffer_get_glyph_infos(buffer.get(), &count);
  const hb_glyph_position_t* positions = hb_buffer_get_glyph_positions(buffer.get(), &count);
  constexpr double unit = 64.0;  // 26.6 fixed point
  std::vector<PlacedGlyph> glyphs;
  double pen = 0;
  for (unsigned i = 0; i < count; ++i) {
    glyphs.push_back({infos[i].codepoint, pen + positions[i].x_offset / unit, positions[i].y_offset / unit});
    pen += positions[i].x_advance / unit + spacing;
  }
  return glyphs;
}

Box Font::State::render(const PlacedGlyph& glyph) const {
  if (FT_Load_Glyph(face.get(), glyph.index, FT_LOAD_DEFAULT | FT_LOAD_NO_BITMAP | FT_LOAD_RENDER) != 0)
    fail("font {}: glyph {} cannot be drawn", name, glyph.index);
  const FT_GlyphSlot slot = face->glyph;
  const int left = static_cast<int>(std::lround(glyph.x)) + slot->bitmap_left;
  const int top = static_cast<int>(std::lround(glyph.y)) + slot->bitmap_top;
  const int width = static_cast<int>(slot->bitmap.width), rows = static_cast<int>(slot->bitmap.rows);
  return {left, left + width, top, top - rows};
}

Font::Font(const std::string& name) : state_(std::make_unique<State>()) {
  state_->name = name;
  const auto [file, index] = file_and_face(name);
  if (!std::filesystem::is_regular_file(file)) refuse("font {}: found no such file", name);
  FT_Face face = nullptr;
  if (FT_New_Face(state_->freetype.library, file.c_str(), index, &face) != 0)
    refuse("font {}: found no font, or no face {} in it, expected a TrueType or OpenType file", name, index);
  state_->face.reset(face);
  if (!FT_IS_SCALABLE(face)) refuse("font {}: found bitmaps, expected outlines", name);
  if (FT_Select_Charmap(face, FT_ENCODING_UNICODE) != 0) refuse("font {}: it has no Unicode characters", name);
  state_->shaper.reset(hb_ft_font_create_referenced(face));
  state_->buffer.reset(hb_buffer_create());
}

Font::~Font() = default;
Font::Font(Font&&) noexcept = default;
const std::string& Font::name() const { return state_->name; }

bool Font::has(char32_t character) const { return FT_Get_Char_Index(state_->face.get(), character) != 0; }

std::string_view Font::missing(std::string_view text) const {
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(point.bytes, 1));
    const bool is_space = point.value == U' ' || point.value == U'\u3000';
    if (point.bytes == 0 || (!is_space && !has(point.value))) return character;
    text.remove_prefix(character.size());
  }
  return {};
}

Coverage Font::draw(std::string_view text, int size, double spacing) {
  state_->set_size(size);
  const std::vector<PlacedGlyph> glyphs = state_->place(text, spacing);
  // Drawn twice, first for the size: few glyphs, and no copies of them.
  Box all{1 << 20, -(1 << 20), -(1 << 20), 1 << 20};
  for (const PlacedGlyph& glyph : glyphs) {
    const Box box = state_->render(glyph);
    if (box.empty()) continue;
    all = {std::min(all.left, box.left), std::max(all.right, box.right), std::max(all.top, box.top),
           std::min(all.bottom, box.bottom)};
  }
  Coverage result;
  if (all.empty()) return result;
  result.width = all.right - all.left;
  result.height = all.top - all.bottom;
  result.pixels.resize(static_cast<std::size_t>(result.width) * static_cast<std::size_t>(result.height));
  for (const PlacedGlyph& glyph : glyphs) {
    const Box box = state_->render(glyph);
    const FT_Bitmap& bitmap = state_->face->glyph->bitmap;
    for (int row = 0; row < box.top - box.bottom; ++row) {
      const std::uint8_t* from = bitmap.buffer + static_cast<std::ptrdiff_t>(row) * bitmap.pitch;
      std::uint8_t* to = result.pixels.data() + static_cast<std::ptrdiff_t>(all.top - box.top + row) * result.width +
                         (box.left - all.left);
      for (int column = 0; column < box.right - box.left; ++column) to[column] = std::max(to[column], from[column]);
    }
  }
  return result;
}

}  // namespace trireme
