#include "io/lines/line_image.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "io/image.h"
#include "kernels/error.h"

namespace trireme {

Line read_line_image(const std::filesystem::path& file, int height) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream || std::filesystem::is_directory(file))
    refuse("{}: found no file that can be read, expected a JPEG or PNG", file.string());
  const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
  const Image image = decode_image(std::as_bytes(std::span(bytes)), 1, file.string());
  const double scale = static_cast<double>(height) / image.height;
  const int width = std::max(1, static_cast<int>(std::lround(image.width * scale)));
  constexpr int widest = 32768;
  if (width > widest)
    refuse("{}: found {} x {} pixels, expected one line of text", file.string(), image.width, image.height);
  return {.width = width, .pixels = resized(image, width, height).pixels};
}

}  // namespace trireme
