#include "io/images/image_source.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace trireme {
namespace {

constexpr double centre_share = 0.875;
constexpr int crop_tries = 10;

/// Random numbers of one sample.
class AugmentationDraws {
 public:
  AugmentationDraws(std::uint64_t seed, std::int64_t sample)
      : seed_(seed), group_(static_cast<std::uint64_t>(sample) * groups_a_sample) {}
  /// In [low, high).
  double uniform(double low, double high) {
    if (taken_ % 4 == 0) words_ = philox(seed_, stream, group_ + taken_ / 4);
    return low + (high - low) * static_cast<double>(uniform_float(words_[taken_++ % 4]));
  }

 private:
  static constexpr std::uint64_t stream = stream_of("images");
  static constexpr std::uint64_t groups_a_sample = 16;  // 64 numbers; a crop takes 40 at most
  std::uint64_t seed_, group_;
  std::uint64_t taken_ = 0;
  std::array<std::uint32_t, 4> words_{};
};

ImageBox middle_square(const ImageHeader& size, double share) {
  const double side = share * std::min(size.width, size.height);
  return {(size.width - side) / 2, (size.height - side) / 2, side, side};
}

/// A box of a random share of the area and of a random shape, 3:4 to 4:3, where one fits; else the middle.
ImageBox random_box(const ImageHeader& size, double smallest_area, AugmentationDraws& draws) {
  for (int i = 0; i < crop_tries; ++i) {
    const double area = draws.uniform(smallest_area, 1.0) * size.width * size.height;
    const double shape = std::exp(draws.uniform(-std::log(4.0 / 3.0), std::log(4.0 / 3.0)));
    const double width = std::round(std::sqrt(area * shape));
    const double height = std::round(std::sqrt(area / shape));
    const double left = draws.uniform(0, 1);
    const double top = draws.uniform(0, 1);
    if (width >= 1 && height >= 1 && width <= size.width && height <= size.height)
      return {std::floor(left * (size.width - width + 1)), std::floor(top * (size.height - height + 1)), width, height};
  }
  return middle_square(size, 1.0);
}

/// Moves the picture inside its frame; black comes in.
void move(std::span<float> pixels, int size, int channels, int right, int down) {
  const std::vector<float> from(pixels.begin(), pixels.end());
  const auto at = [&](int y, int x) {
    return (static_cast<std::size_t>(y) * static_cast<std::size_t>(size) + static_cast<std::size_t>(x)) *
           static_cast<std::size_t>(channels);
  };
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const bool inside = y - down >= 0 && y - down < size && x - right >= 0 && x - right < size;
      for (int c = 0; c < channels; ++c)
        pixels[at(y, x) + static_cast<std::size_t>(c)] =
            inside ? from[at(y - down, x - right) + static_cast<std::size_t>(c)] : 0.0F;
    }
  }
}

void flip(std::span<float> pixels, int size, int channels) {
  const auto row = static_cast<std::size_t>(size) * static_cast<std::size_t>(channels);
  for (std::size_t begin = 0; begin < pixels.size(); begin += row) {
    const auto line = pixels.subspan(begin, row);
    std::ranges::reverse(line);
    for (std::size_t x = 0; x < row; x += static_cast<std::size_t>(channels))
      std::ranges::reverse(line.subspan(x, static_cast<std::size_t>(channels)));
  }
}

float grey_of(const float* pixel, int channels) {
  return channels == 1 ? *pixel : 0.299F * pixel[0] + 0.587F * pixel[1] + 0.114F * pixel[2];
}

/// Brightness, contrast and saturation, in this order: each value moves away from, or towards, black, the image's mean
/// grey, and its pixel's grey.
void jitter(std::span<float> pixels, int channels, double share, AugmentationDraws& draws) {
  const auto factor = [&] { return static_cast<float>(draws.uniform(std::max(0.0, 1 - share), 1 + share)); };
  const float brightness = factor();
  const float contrast = factor();
  const float saturation = channels == 1 ? 1.0F : factor();
  const auto step = static_cast<std::size_t>(channels);
  double sum = 0;
  for (std::size_t i = 0; i < pixels.size(); i += step) sum += static_cast<double>(grey_of(&pixels[i], channels));
  const auto mean =
      static_cast<float>(sum * static_cast<double>(step) / static_cast<double>(pixels.size())) * brightness;
  for (std::size_t i = 0; i < pixels.size(); i += step) {
    for (std::size_t c = 0; c < step; ++c) pixels[i + c] = mean + contrast * (brightness * pixels[i + c] - mean);
    const float grey = grey_of(&pixels[i], channels);
    for (std::size_t c = 0; c < step; ++c)
      pixels[i + c] = std::clamp(grey + saturation * (pixels[i + c] - grey), 0.0F, 255.0F);
  }
}

/// How much smaller a JPEG may be decoded so that the box still has the pixels that are wanted.
int reduction_for(const ImageHeader& header, const ImageBox& box, int size) {
  if (header.format != ImageFormat::jpeg) return 1;
  for (const int reduction : {8, 4, 2})
    if (box.width >= size * reduction && box.height >= size * reduction) return reduction;
  return 1;
}

ImageBox evaluation_box(const ImageHeader& header, CropKind crop) {
  return middle_square(header, crop == CropKind::resized ? centre_share : 1.0);
}

/// Scales a box of an image file.
void decode_box(std::span<const std::byte> file, const std::string& name, const ImageHeader& header, ImageBox box,
                int channels, int size, std::span<float> out) {
  const int reduction = reduction_for(header, box, size);
  box = {box.left / reduction, box.top / reduction, box.width / reduction, box.height / reduction};
  resize(decode_image(file, channels, name, reduction), box, size, size, out);
}

void round_to(std::span<std::uint8_t> out, std::span<const float> pixels) {
  std::ranges::transform(pixels, out.begin(),
                         [](float value) { return static_cast<std::uint8_t>(std::clamp(value + 0.5F, 0.0F, 255.0F)); });
}

}  // namespace

void prepare_image(std::span<const std::byte> file, const std::string& name, int channels, int size, CropKind crop,
                   std::span<std::uint8_t> out) {
  const ImageHeader header = read_image_header(file, name);
  std::vector<float> pixels(out.size());
  decode_box(file, name, header, evaluation_box(header, crop), channels, size, pixels);
  round_to(out, pixels);
}

ImageSource::ImageSource(std::shared_ptr<const ImageDataset> dataset, int size, const Augmentation& augmentation,
                         const SourceOptions& options)
    : dataset_(std::move(dataset)),
      size_(size),
      channels_(dataset_->channels()),
      augmentation_(augmentation),
      options_(options),
      order_(dataset_->images(), options.seed, options.training) {}

std::int64_t ImageSource::batches() const { return (samples() + options_.global_batch - 1) / options_.global_batch; }

std::vector<Field> ImageSource::fields(std::int64_t) const {
  return {{"image", DType::u8, {size_, size_, channels_}}, {"class", DType::i32, {}}};
}

void ImageSource::read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) {
  const std::int64_t place = batch * options_.global_batch + index;
  const std::int64_t image = order_(place);
  const auto pixels = static_cast<std::size_t>(size_) * static_cast<std::size_t>(size_);
  draw(image, place, {reinterpret_cast<std::uint8_t*>(fields[0]), pixels * static_cast<std::size_t>(channels_)});
  const bool counts = options_.training || place < samples();
  *reinterpret_cast<std::int32_t*>(fields[1]) = counts ? dataset_->label(image) : -1;
}

void ImageSource::draw(std::int64_t image, std::int64_t place, std::span<std::uint8_t> out) const {
  thread_local std::vector<std::byte> bytes;
  dataset_->read(image, bytes);
  ImageHeader header = dataset_->raw_size(image);
  const bool raw = header.width > 0;
  const std::string name = raw ? std::string() : dataset_->name(image);
  if (!raw) header = read_image_header(bytes, name);

  AugmentationDraws draws(options_.seed, place);
  const Augmentation& change = augmentation_;
  const bool resized = change.crop == CropKind::resized;
  const ImageBox box = options_.training && resized ? random_box(header, change.smallest_area, draws)
                                                    : evaluation_box(header, change.crop);
  thread_local std::vector<float> pixels;
  pixels.resize(out.size());
  if (raw) {
    const auto* const from = reinterpret_cast<const std::uint8_t*>(bytes.data());
    resize({header.width, header.height, channels_, {from, from + bytes.size()}}, box, size_, size_, pixels);
  } else {
    decode_box(bytes, name, header, box, channels_, size_, pixels);
  }
  if (options_.training) {
    if (change.crop == CropKind::padded && change.padding > 0) {
      const auto distance = [&] {
        return static_cast<int>(std::floor(draws.uniform(0, 2 * change.padding + 1))) - change.padding;
      };
      const int right = distance();
      move(pixels, size_, channels_, right, distance());
    }
    if (change.flip && draws.uniform(0, 1) < 0.5) flip(pixels, size_, channels_);
    if (change.colour_jitter > 0) jitter(pixels, channels_, change.colour_jitter, draws);
  }
  round_to(out, pixels);
}

}  // namespace trireme
