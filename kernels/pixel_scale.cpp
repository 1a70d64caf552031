#include "kernels/pixel_scale.h"

#include "kernels/error.h"
#include "kernels/expect.h"

namespace trireme {

PixelScale scale_of(const PixelsArgs& args) {
  const std::int64_t channels = args.x.shape().columns();
  if (channels < 1 || channels > PixelsArgs::most_channels)
    fail("normalise_pixels: {} has {} channels, expected 1 to {}", args.x.shape().to_string(), channels,
         PixelsArgs::most_channels);
  expect_elements("pixels", args.x, args.x.elements(), DType::u8);
  expect_elements("normalised pixels", args.y, args.x.elements(), args.y.dtype());
  expect_working_type("normalised pixels", args.y);
  PixelScale scale{.channels = static_cast<int>(channels)};
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    scale.slope[c] = 1.0F / (255.0F * args.deviation[c]);
    scale.offset[c] = -args.mean[c] / args.deviation[c];
  }
  return scale;
}

}  // namespace trireme
