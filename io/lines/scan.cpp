#include "io/lines/scan.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "io/image.h"

namespace trireme {
namespace {

/// Numbers of a picture, row-major.
struct Plane {
  Plane(int columns, int rows)
      : width(columns), height(rows), values(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows)) {}
  float& at(int x, int y) { return values[place(x, y)]; }
  float at(int x, int y) const { return values[place(x, y)]; }
  float clamped(int x, int y) const { return at(std::clamp(x, 0, width - 1), std::clamp(y, 0, height - 1)); }

  std::size_t place(int x, int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
  }

  int width, height;
  std::vector<float> values;
};

/// Between four neighbours; `get` gives them.
template <typename Get>
float bilinear(float x, float y, const Get& get) {
  const float left = std::floor(x), top = std::floor(y);
  const float right_share = x - left, low_share = y - top;
  const int column = static_cast<int>(left), row = static_cast<int>(top);
  const float above = get(column, row) * (1 - right_share) + get(column + 1, row) * right_share;
  const float below = get(column, row + 1) * (1 - right_share) + get(column + 1, row + 1) * right_share;
  return above * (1 - low_share) + below * low_share;
}

/// The ink, 0..1, seen a little from the side, by a page that lies a little askew.
Plane look_at(const Coverage& ink, int letters, int height, float strength, Draws& draws) {
  const auto draw = [&](double size) { return static_cast<float>(draws.between(-size, size)) * strength; };
  // A line of dashes does not fill the picture.
  const float tall = std::max(static_cast<float>(ink.height), 0.6F * static_cast<float>(letters));
  const auto filled = static_cast<float>(draws.between(0.92 - 0.22 * std::min(strength, 1.5F), 0.92));
  const float scale = filled * static_cast<float>(height) / tall;
  const float stretch = 1.0F + draw(0.1);
  const float before = static_cast<float>(draws.between(2, 8)), behind = static_cast<float>(draws.between(2, 8));
  const float inked = static_cast<float>(ink.width) * scale * stretch;
  Plane seen(static_cast<int>(std::ceil(before + inked + behind)), height);

  const float half_width = static_cast<float>(seen.width) / 2, half_height = static_cast<float>(height) / 2;
  const float slant = draw(0.15), turn = draw(0.05) * std::min(1.0F, 2 * half_height / half_width);
  const float nearer_right = draw(0.05), nearer_below = draw(0.05) * std::min(1.0F, 2 * half_height / half_width);
  // Perspective widens one end: no letter is to leave the picture there.
  const float fit = 1 + std::abs(nearer_right) + std::abs(nearer_below);
  const float shift = draw(0.04) * static_cast<float>(height);
  const float middle_x = before + inked / 2;
  const auto get = [&](int x, int y) {
    return x < 0 || y < 0 || x >= ink.width || y >= ink.height
               ? 0.0F
               : static_cast<float>(ink.pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(ink.width) +
                                               static_cast<std::size_t>(x)]) /
                     255.0F;
  };
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < seen.width; ++x) {
      const float u = static_cast<float>(x) + 0.5F - middle_x, v = static_cast<float>(y) + 0.5F - half_height - shift;
      const float depth = 1 + nearer_right * u / half_width + nearer_below * v / half_height;
      const float across = fit * (u + slant * v) / (scale * stretch * depth), down = (v + turn * u) / (scale * depth);
      seen.at(x, y) = bilinear(across + static_cast<float>(ink.width) / 2 - 0.5F,
                               down + static_cast<float>(ink.height) / 2 - 0.5F, get);
    }
  }
  return seen;
}

/// Weights of a Gaussian, normalised, from the middle outwards.
std::vector<float> gaussian(float deviation) {
  const int reach = std::max(1, static_cast<int>(std::ceil(2.5F * deviation)));
  std::vector<float> weights;
  float sum = 0;
  for (int i = 0; i <= reach; ++i) {
    weights.push_back(std::exp(-0.5F * static_cast<float>(i * i) / (deviation * deviation)));
    sum += (i == 0 ? 1.0F : 2.0F) * weights.back();
  }
  for (float& weight : weights) weight /= sum;
  return weights;
}

void blur(Plane& plane, float across, float down) {
  const auto pass = [&](float deviation, int dx, int dy) {
    if (deviation < 0.15F) return;
    const std::vector<float> weights = gaussian(deviation);
    Plane result(plane.width, plane.height);
    for (int y = 0; y < plane.height; ++y) {
      for (int x = 0; x < plane.width; ++x) {
        float sum = weights[0] * plane.at(x, y);
        for (int i = 1; i < static_cast<int>(weights.size()); ++i)
          sum += weights[static_cast<std::size_t>(i)] *
                 (plane.clamped(x - i * dx, y - i * dy) + plane.clamped(x + i * dx, y + i * dy));
        result.at(x, y) = sum;
      }
    }
    plane = std::move(result);
  };
  pass(across, 1, 0);
  pass(down, 0, 1);
}

/// As if taken with fewer pixels and enlarged.
void coarsen(Plane& plane, float share) {
  const auto resized = [](const Plane& from, int width, int height) {
    Plane to(width, height);
    const float step_x = static_cast<float>(from.width) / static_cast<float>(width);
    const float step_y = static_cast<float>(from.height) / static_cast<float>(height);
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        to.at(x, y) =
            bilinear((static_cast<float>(x) + 0.5F) * step_x - 0.5F, (static_cast<float>(y) + 0.5F) * step_y - 0.5F,
                     [&](int column, int row) { return from.clamped(column, row); });
    return to;
  };
  const auto less = [share](int size) { return std::max(1, static_cast<int>(static_cast<float>(size) * share)); };
  plane = resized(resized(plane, less(plane.width), less(plane.height)), plane.width, plane.height);
}

/// Weak printing and rules of forms.
void wear(Plane& ink, float strength, Draws& draws) {
  const float power = std::exp(static_cast<float>(draws.between(-0.6, 0.5)) * strength);
  for (float& value : ink.values) value = std::pow(std::clamp(value, 0.0F, 1.0F), power);
  if (draws.chance(0.1 * strength)) {  // a heating element of the printer is weak
    for (int count = draws.among(1, 3); count > 0; --count) {
      const int row = draws.below(ink.height);
      const auto left = static_cast<float>(draws.between(0.2, 0.7));
      for (int x = 0; x < ink.width; ++x) ink.at(x, row) *= left;
    }
  }
  if (draws.chance(0.12 * strength)) {
    const int row = draws.chance(0.5) ? draws.below(3) : ink.height - 1 - draws.below(3);
    const auto black = static_cast<float>(draws.between(0.3, 1.0));
    for (int x = 0; x < ink.width; ++x) ink.at(x, row) = std::max(ink.at(x, row), black);
  }
  if (draws.chance(0.05 * strength)) {
    const int column = draws.chance(0.5) ? draws.below(2) : ink.width - 1 - draws.below(2);
    for (int y = 0; y < ink.height; ++y) ink.at(column, y) = 0.8F;
  }
}

/// Ink to light, on paper that is lit unevenly. 0..255.
void expose(Plane& plane, float strength, Draws& draws) {
  const double least = 255 - 105 * std::min(strength, 1.6F);
  const auto paper = static_cast<float>(draws.between(least, 255));
  const auto black = static_cast<float>(draws.between(0, std::min(strength, 1.5F) * 0.45 * paper));
  const auto slope_x = static_cast<float>(draws.normal()) * 14 * strength;
  const auto slope_y = static_cast<float>(draws.normal()) * 8 * strength;
  const bool stained = draws.chance(0.3 * strength);
  const auto stain = stained ? static_cast<float>(draws.between(4, 18)) * strength : 0.0F;
  const auto stain_length = static_cast<float>(draws.between(8, 60)),
             stain_phase = static_cast<float>(draws.between(0, 6));
  const bool negative = draws.chance(0.03 * strength);
  for (int y = 0; y < plane.height; ++y) {
    const float along_y = static_cast<float>(y) / static_cast<float>(plane.height) - 0.5F;
    for (int x = 0; x < plane.width; ++x) {
      const float along_x = static_cast<float>(x) / static_cast<float>(plane.width) - 0.5F;
      float light = paper + slope_x * along_x + slope_y * along_y;
      if (stained)
        light -=
            stain * (1 + std::sin((static_cast<float>(x) + 0.7F * static_cast<float>(y)) / stain_length + stain_phase));
      const float value = light + (black - light) * plane.at(x, y);
      plane.at(x, y) = negative ? 255 - value : value;
    }
  }
}

void add_noise(Plane& plane, float strength, Draws& draws) {
  const auto deviation = static_cast<float>(draws.between(0, 12)) * strength;
  const auto specks = static_cast<std::uint32_t>(draws.chance(0.2) ? draws.between(0, 0.01) * strength * 0x1p32 : 0.0);
  for (float& value : plane.values) {
    const std::uint32_t word = draws.word();
    // Four bytes of a word add up to something near a normal distribution: mean 510, deviation 147.8.
    const auto sum = static_cast<float>((word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24));
    value += (sum - 510.0F) * deviation / 147.8F;
    if (specks > 0 && draws.word() < specks) value = (word & 1) != 0 ? 255.0F : 0.0F;
  }
}

}  // namespace

Line scan(const Coverage& ink, int letters, int height, double strength, Draws& draws) {
  const auto force = static_cast<float>(strength);
  Plane plane = look_at(ink, letters, height, force, draws);
  if (strength > 0) wear(plane, force, draws);
  expose(plane, force, draws);
  if (strength > 0) {
    const auto soft = static_cast<float>(draws.between(0, 1)) * force;
    const bool moved = draws.chance(0.2);
    blur(plane, soft * (moved ? 1.8F : 0.9F), soft * (moved ? 0.4F : 0.9F));
    if (draws.chance(0.2 * strength)) coarsen(plane, static_cast<float>(draws.between(0.5, 0.85)));
    add_noise(plane, force, draws);
  }
  Image image{.width = plane.width, .height = plane.height, .channels = 1};
  image.pixels.reserve(plane.values.size());
  for (const float value : plane.values)
    image.pixels.push_back(static_cast<std::uint8_t>(std::clamp(value + 0.5F, 0.0F, 255.0F)));
  if (draws.chance(0.4 * strength)) image = decode_image(encode_jpeg(image, draws.among(20, 90)), 1, "JPEG");
  return {.width = image.width, .pixels = std::move(image.pixels)};
}

}  // namespace trireme
