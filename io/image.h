// Images in memory: JPEG (libjpeg-turbo) and PNG (libpng) to 8-bit pixels and back, and resizing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace trireme {

/// Pixels row by row, `channels` (1: grey, 3: red, green, blue) values of 0 to 255 each.
struct Image {
  int width = 0, height = 0, channels = 3;
  std::vector<std::uint8_t> pixels;

  std::size_t row_bytes() const { return static_cast<std::size_t>(width) * static_cast<std::size_t>(channels); }
};

enum class ImageFormat { jpeg, png };

/// What the header of an encoded image says.
struct ImageHeader {
  ImageFormat format = ImageFormat::jpeg;
  int width = 0, height = 0;
};

/// More than any photograph: what a damaged or hostile header may not exceed.
inline constexpr std::int64_t most_pixels = std::int64_t{1} << 27;

/// Reads the header alone. Refuses what is neither JPEG nor PNG, and sizes beyond most_pixels, naming `name` (the
/// file).
ImageHeader read_image_header(std::span<const std::byte> encoded, std::string_view name);

/// Decodes to `channels` (1 or 3); transparent parts lie on white. A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size
/// (rounded up), which is faster than all of it; PNG takes no `reduction` but 1. Refuses what does not decode, or ends
/// early, naming `name`. Safe from several threads.
Image decode_image(std::span<const std::byte> encoded, int channels, std::string_view name, int reduction = 1);

/// quality: 1 to 100.
std::vector<std::byte> encode_jpeg(const Image& image, int quality);
std::vector<std::byte> encode_png(const Image& image);

/// A part of an image, in pixels; may begin and end inside a pixel.
struct ImageBox {
  double left = 0, top = 0, width = 0, height = 0;
};

/// Scales `box` of the image to [height, width, channels] floats of 0 to 255: a triangle filter as wide as the scale
/// asks, so bilinear where it grows and antialiased where it shrinks. `box` lies in the image.
void resize(const Image& image, const ImageBox& box, int width, int height, std::span<float> out);
/// All of it, rounded to 8 bits.
Image resized(const Image& image, int width, int height);

}  // namespace trireme
