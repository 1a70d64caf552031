#include "io/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/support/error_of.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

template <typename Action>
std::string message_of(const Action& action) {
  return error_of(action).what();
}

/// Smooth, so that JPEG keeps it.
Image gradient_image(int width, int height, int channels) {
  Image image{.width = width, .height = height, .channels = channels};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        image.pixels.push_back(static_cast<std::uint8_t>(c == 0 ? 255 * x / width : (c == 1 ? 255 * y / height : 128)));
  return image;
}

TEST(Image, PngComesBackAsItWas) {
  for (const int channels : {1, 3}) {
    const Image image = gradient_image(37, 23, channels);
    const auto encoded = encode_png(image);
    const ImageHeader header = read_image_header(encoded, "a.png");
    EXPECT_EQ(header.format, ImageFormat::png);
    EXPECT_EQ(header.width, 37);
    EXPECT_EQ(header.height, 23);
    EXPECT_EQ(decode_image(encoded, channels, "a.png").pixels, image.pixels);
  }
}

TEST(Image, JpegComesBackNearly) {
  for (const int channels : {1, 3}) {
    const Image image = gradient_image(64, 48, channels);
    const auto encoded = encode_jpeg(image, 95);
    EXPECT_EQ(read_image_header(encoded, "a.jpg").format, ImageFormat::jpeg);
    const Image back = decode_image(encoded, channels, "a.jpg");
    ASSERT_EQ(back.pixels.size(), image.pixels.size());
    for (std::size_t i = 0; i < back.pixels.size(); ++i) ASSERT_NEAR(back.pixels[i], image.pixels[i], 12) << i;
    const Image half = decode_image(encoded, channels, "a.jpg", 2);
    EXPECT_EQ(half.width, 32);
    EXPECT_EQ(half.height, 24);
  }
}

TEST(Image, ColourBecomesGreyAndBack) {
  Image red{.width = 2, .height = 1, .channels = 3, .pixels = {255, 0, 0, 255, 255, 255}};
  EXPECT_EQ(decode_image(encode_png(red), 1, "a").pixels, (std::vector<std::uint8_t>{76, 255}));
  const Image grey{.width = 2, .height = 1, .channels = 1, .pixels = {7, 200}};
  EXPECT_EQ(decode_image(encode_png(grey), 3, "a").pixels, (std::vector<std::uint8_t>{7, 7, 7, 200, 200, 200}));
}

TEST(Image, RefusesWhatDoesNotDecode) {
  const std::vector<std::byte> nothing;
  EXPECT_THAT(message_of([&] { decode_image(nothing, 3, "empty.jpg"); }), HasSubstr("empty.jpg: neither"));
  for (const auto& encoded : {encode_png(gradient_image(40, 40, 3)), encode_jpeg(gradient_image(40, 40, 3), 90)}) {
    const std::span<const std::byte> whole = encoded;
    EXPECT_THAT(message_of([&] { decode_image(whole.first(whole.size() / 2), 3, "cut.img"); }), HasSubstr("cut.img: "));
    EXPECT_THAT(message_of([&] { decode_image(whole.first(9), 3, "cut.img"); }), HasSubstr("cut.img: "));
  }
}

TEST(Image, RefusesAHugeSizeBeforeItReservesMemory) {
  auto encoded = encode_jpeg(gradient_image(40, 40, 3), 90);
  for (std::size_t i = 0; i + 9 < encoded.size(); ++i) {
    if (encoded[i] != std::byte{0xFF} || encoded[i + 1] != std::byte{0xC0}) continue;
    std::memset(&encoded[i + 5], 0xF0, 4);  // height and width of the frame
    break;
  }
  EXPECT_THAT(message_of([&] { read_image_header(encoded, "huge.jpg"); }), HasSubstr("huge.jpg: an image of 61680"));
}

TEST(Image, ResizingKeepsLinesStraight) {
  Image ramp{.width = 64, .height = 2, .channels = 1};
  for (int i = 0; i < 128; ++i) ramp.pixels.push_back(static_cast<std::uint8_t>(2 * (i % 64)));
  for (const int width : {16, 100}) {  // antialiased, and bilinear
    std::vector<float> out(static_cast<std::size_t>(width) * 2);
    resize(ramp, {.left = 8, .width = 48, .height = 2}, width, 2, out);
    for (int i = 0; i < width; ++i) {
      const double centre = 8 + (i + 0.5) * 48 / width;
      EXPECT_NEAR(out[static_cast<std::size_t>(i)], 2 * (centre - 0.5), 1e-3) << width << " " << i;
    }
  }
}

TEST(Image, ShrinkingAverages) {
  Image board{.width = 64, .height = 64, .channels = 1};
  for (int i = 0; i < 64 * 64; ++i) board.pixels.push_back((i + i / 64) % 2 == 0 ? 255 : 0);
  for (const std::uint8_t value : resized(board, 8, 8).pixels) EXPECT_NEAR(value, 127, 3);
}

}  // namespace
}  // namespace trireme
