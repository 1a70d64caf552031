#include "io/image.h"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "kernels/error.h"

namespace trireme {
namespace {

constexpr std::uint8_t white = 255;

struct TurboClose {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using TurboHandle = std::unique_ptr<void, TurboClose>;

tjhandle decompressor() {
  thread_local const TurboHandle handle(tjInitDecompress());
  if (!handle) fail("libjpeg-turbo: {}", tjGetErrorStr2(nullptr));
  return handle.get();
}

const unsigned char* bytes_of(std::span<const std::byte> data) {
  return reinterpret_cast<const unsigned char*>(data.data());
}

void check_size(std::int64_t width, std::int64_t height, std::string_view name) {
  if (width < 1 || height < 1 || width > most_pixels / height)
    refuse("{}: an image of {} x {} pixels; expected 1 to {} in all", name, width, height, most_pixels);
}

void check_channels(int channels) {
  if (channels != 1 && channels != 3) fail("images have 1 or 3 channels, not {}", channels);
}

bool is_jpeg(std::span<const std::byte> data) {
  return data.size() >= 3 && std::memcmp(data.data(), "\xFF\xD8\xFF", 3) == 0;
}
bool is_png(std::span<const std::byte> data) {
  return data.size() >= 8 && std::memcmp(data.data(), "\x89PNG\r\n\x1A\n", 8) == 0;
}

/// As JPEG has it (ITU-R BT.601), rounded.
std::uint8_t luminance(unsigned red, unsigned green, unsigned blue) {
  return static_cast<std::uint8_t>((red * 19595 + green * 38470 + blue * 7471 + (1U << 15)) >> 16);
}

struct JpegHeader {
  int width = 0, height = 0;
  bool four_inks = false;  ///< CMYK, which libjpeg-turbo does not turn into RGB
};

JpegHeader read_jpeg_header(std::span<const std::byte> encoded, std::string_view name) {
  JpegHeader header;
  int subsampling = 0;
  int colours = 0;
  if (tjDecompressHeader3(decompressor(), bytes_of(encoded), encoded.size(), &header.width, &header.height,
                          &subsampling, &colours) != 0)
    refuse("{}: not a JPEG image that decodes: {}", name, tjGetErrorStr2(decompressor()));
  check_size(header.width, header.height, name);
  header.four_inks = colours == TJCS_CMYK || colours == TJCS_YCCK;
  return header;
}

/// Warnings are what files of cameras and of old programs often give; of those, an early end only is an error.
void decompress(std::span<const std::byte> encoded, Image& image, TJPF format, std::uint8_t* out,
                std::string_view name) {
  tjhandle handle = decompressor();
  if (tjDecompress2(handle, bytes_of(encoded), encoded.size(), out, image.width, 0, image.height, format,
                    TJFLAG_ACCURATEDCT) == 0)
    return;
  const std::string message = tjGetErrorStr2(handle);
  if (tjGetErrorCode(handle) == TJERR_WARNING && message.find("remature end") == std::string::npos) return;
  refuse("{}: a JPEG image that does not decode: {}", name, message);
}

/// Inks as Adobe stores them, inverted: what is left of the light.
void mix_inks(const std::vector<std::uint8_t>& inks, Image& image) {
  const std::size_t pixels = inks.size() / 4;
  for (std::size_t i = 0; i < pixels; ++i) {
    const auto light = [&](std::size_t ink) { return (unsigned{inks[4 * i + ink]} * inks[4 * i + 3] + 127U) / 255U; };
    if (image.channels == 1) {
      image.pixels[i] = luminance(light(0), light(1), light(2));
    } else {
      for (std::size_t c = 0; c < 3; ++c) image.pixels[3 * i + c] = static_cast<std::uint8_t>(light(c));
    }
  }
}

Image decode_jpeg(std::span<const std::byte> encoded, int channels, std::string_view name, int reduction) {
  const JpegHeader header = read_jpeg_header(encoded, name);
  Image image{.width = (header.width + reduction - 1) / reduction,
              .height = (header.height + reduction - 1) / reduction,
              .channels = channels};
  image.pixels.resize(image.row_bytes() * static_cast<std::size_t>(image.height));
  if (!header.four_inks) {
    decompress(encoded, image, channels == 1 ? TJPF_GRAY : TJPF_RGB, image.pixels.data(), name);
    return image;
  }
  std::vector<std::uint8_t> inks(4 * static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height));
  decompress(encoded, image, TJPF_CMYK, inks.data(), name);
  mix_inks(inks, image);
  return image;
}

/// libpng's own reader of whole images, freed whatever happens.
class PngImage {
 public:
  PngImage(std::span<const std::byte> encoded, std::string_view name) : PngImage() {
    if (png_image_begin_read_from_memory(&image, encoded.data(), encoded.size()) == 0)
      refuse("{}: not a PNG image that decodes: {}", name, image.message);
    check_size(image.width, image.height, name);
  }
  PngImage() { image.version = PNG_IMAGE_VERSION; }
  ~PngImage() { png_image_free(&image); }
  PngImage(const PngImage&) = delete;
  PngImage& operator=(const PngImage&) = delete;

  png_image image{};
};

Image decode_png(std::span<const std::byte> encoded, int channels, std::string_view name) {
  PngImage png(encoded, name);
  const bool colour = (png.image.format & PNG_FORMAT_FLAG_COLOR) != 0;
  png.image.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  Image image{.width = static_cast<int>(png.image.width),
              .height = static_cast<int>(png.image.height),
              .channels = colour ? 3 : 1};
  image.pixels.resize(image.row_bytes() * static_cast<std::size_t>(image.height));
  const png_color background = {white, white, white};
  if (png_image_finish_read(&png.image, &background, image.pixels.data(), 0, nullptr) == 0)
    refuse("{}: a PNG image that does not decode: {}", name, png.image.message);
  if (image.channels == channels) return image;
  Image other{.width = image.width, .height = image.height, .channels = channels};
  other.pixels.resize(other.row_bytes() * static_cast<std::size_t>(other.height));
  const std::uint8_t* from = image.pixels.data();
  if (channels == 1) {
    for (std::uint8_t& grey : other.pixels) {
      grey = luminance(from[0], from[1], from[2]);
      from += 3;
    }
  } else {
    for (std::size_t i = 0; i < other.pixels.size(); ++i) other.pixels[i] = from[i / 3];
  }
  return other;
}

/// Which pixels of one axis make a pixel of the result, and how much each counts.
struct Taps {
  int first = 0;
  std::vector<float> weights;
};

std::vector<Taps> taps_of(double begin, double extent, int out, int size) {
  const double scale = extent / out;
  const double reach = std::max(1.0, scale);
  std::vector<Taps> taps(static_cast<std::size_t>(out));
  for (std::size_t i = 0; i < taps.size(); ++i) {
    const double centre = begin + (static_cast<double>(i) + 0.5) * scale;
    const int first = std::clamp(static_cast<int>(std::lround(centre - reach)), 0, size - 1);
    const int last = std::clamp(static_cast<int>(std::lround(centre + reach)), first + 1, size);
    taps[i].first = first;
    double sum = 0;
    for (int pixel = first; pixel < last; ++pixel) {
      const double weight = std::max(0.0, 1.0 - std::abs(pixel + 0.5 - centre) / reach);
      taps[i].weights.push_back(static_cast<float>(weight));
      sum += weight;
    }
    if (sum <= 0.0) taps[i].weights = {1.0F}, sum = 1.0;
    for (float& weight : taps[i].weights) weight /= static_cast<float>(sum);
  }
  return taps;
}

/// One row of the image, made as wide as the result.
template <int channels>
void narrow_row(const std::uint8_t* row, const std::vector<Taps>& taps, float* out) {
  for (const Taps& tap : taps) {
    const std::uint8_t* pixel = row + static_cast<std::ptrdiff_t>(tap.first) * channels;
    float sums[channels] = {};
    for (const float weight : tap.weights)
      for (int c = 0; c < channels; ++c) sums[c] += weight * static_cast<float>(*pixel++);
    for (int c = 0; c < channels; ++c) *out++ = sums[c];
  }
}

}  // namespace

ImageHeader read_image_header(std::span<const std::byte> encoded, std::string_view name) {
  if (is_jpeg(encoded)) {
    const JpegHeader header = read_jpeg_header(encoded, name);
    return {ImageFormat::jpeg, header.width, header.height};
  }
  if (is_png(encoded)) {
    const PngImage png(encoded, name);
    return {ImageFormat::png, static_cast<int>(png.image.width), static_cast<int>(png.image.height)};
  }
  refuse("{}: neither a JPEG nor a PNG image", name);
}

Image decode_image(std::span<const std::byte> encoded, int channels, std::string_view name, int reduction) {
  check_channels(channels);
  if (is_jpeg(encoded)) return decode_jpeg(encoded, channels, name, reduction);
  if (reduction != 1) fail("{}: only JPEG images decode at a part of their size", name);
  if (is_png(encoded)) return decode_png(encoded, channels, name);
  refuse("{}: neither a JPEG nor a PNG image", name);
}

std::vector<std::byte> encode_jpeg(const Image& image, int quality) {
  check_channels(image.channels);
  const TurboHandle handle(tjInitCompress());
  if (!handle) fail("libjpeg-turbo: {}", tjGetErrorStr2(nullptr));
  unsigned char* made = nullptr;
  unsigned long size = 0;
  const int status = tjCompress2(handle.get(), image.pixels.data(), image.width, 0, image.height,
                                 image.channels == 1 ? TJPF_GRAY : TJPF_RGB, &made, &size,
                                 image.channels == 1 ? TJSAMP_GRAY : TJSAMP_420, quality, TJFLAG_ACCURATEDCT);
  const std::unique_ptr<unsigned char, decltype([](unsigned char* memory) { tjFree(memory); })> memory(made);
  if (status != 0) fail("libjpeg-turbo: {}", tjGetErrorStr2(handle.get()));
  const auto* const bytes = reinterpret_cast<const std::byte*>(made);
  return {bytes, bytes + size};
}

std::vector<std::byte> encode_png(const Image& image) {
  check_channels(image.channels);
  PngImage png;
  png.image.width = static_cast<png_uint_32>(image.width);
  png.image.height = static_cast<png_uint_32>(image.height);
  png.image.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::vector<std::byte> encoded(PNG_IMAGE_PNG_SIZE_MAX(png.image));
  png_alloc_size_t size = encoded.size();
  if (png_image_write_to_memory(&png.image, encoded.data(), &size, 0, image.pixels.data(), 0, nullptr) == 0)
    fail("libpng: {}", png.image.message);
  encoded.resize(size);
  return encoded;
}

void resize(const Image& image, const ImageBox& box, int width, int height, std::span<float> out) {
  check_channels(image.channels);
  const std::size_t row = static_cast<std::size_t>(width) * static_cast<std::size_t>(image.channels);
  if (width < 1 || height < 1 || out.size() != row * static_cast<std::size_t>(height))
    fail("resize: room for {} values of an image of {} x {}", out.size(), width, height);
  const std::vector<Taps> across = taps_of(box.left, box.width, width, image.width);
  const std::vector<Taps> down = taps_of(box.top, box.height, height, image.height);
  const int first = down.front().first;
  const int last = down.back().first + static_cast<int>(down.back().weights.size());
  std::vector<float> narrow(row * static_cast<std::size_t>(last - first));  // [rows that are read, width, channels]
  for (int y = first; y < last; ++y) {
    const std::uint8_t* from = image.pixels.data() + static_cast<std::size_t>(y) * image.row_bytes();
    float* to = narrow.data() + static_cast<std::size_t>(y - first) * row;
    image.channels == 1 ? narrow_row<1>(from, across, to) : narrow_row<3>(from, across, to);
  }
  float* to = out.data();
  for (const Taps& tap : down) {
    std::fill_n(to, row, 0.0F);
    const float* from = narrow.data() + static_cast<std::size_t>(tap.first - first) * row;
    for (const float weight : tap.weights) {
      for (std::size_t i = 0; i < row; ++i) to[i] += weight * from[i];
      from += row;
    }
    to += row;
  }
}

Image resized(const Image& image, int width, int height) {
  Image result{.width = width, .height = height, .channels = image.channels};
  std::vector<float> values(result.row_bytes() * static_cast<std::size_t>(height));
  resize(image, {.width = static_cast<double>(image.width), .height = static_cast<double>(image.height)}, width, height,
         values);
  result.pixels.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    result.pixels[i] = static_cast<std::uint8_t>(std::clamp(values[i] + 0.5F, 0.0F, 255.0F));
  return result;
}

}  // namespace trireme
