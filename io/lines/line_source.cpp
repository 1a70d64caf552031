#include "io/lines/line_source.h"

#include <algorithm>
#include <bit>
#include <map>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace trireme {

int padded_width(int width) {
  const int step = std::max(32, static_cast<int>(std::bit_floor(static_cast<unsigned>(width)) / 8));
  return (width + step - 1) / step * step;
}

void write_pixels(const Line& line, int height, int padded, float* out) {
  const std::uint8_t* row = line.pixels.data();
  for (int y = 0; y < height; ++y, row += line.width, out += padded) {
    std::transform(row, row + line.width, out,
                   [](std::uint8_t pixel) { return static_cast<float>(pixel) / 127.5F - 1.0F; });
    std::fill(out + line.width, out + padded, out[line.width - 1]);
  }
}

Image picture_of(std::span<const float> pixels, const Shape& shape) {
  Image picture{.width = static_cast<int>(shape[1]), .height = static_cast<int>(shape[0]), .channels = 1};
  picture.pixels.resize(pixels.size());
  std::ranges::transform(pixels, picture.pixels.begin(), [](float value) {
    return static_cast<std::uint8_t>(std::clamp((value + 1.0F) * 127.5F + 0.5F, 0.0F, 255.0F));
  });
  return picture;
}

LineSource::LineSource(std::shared_ptr<LineDataset> dataset, int pixels_per_step, const SourceOptions& options)
    : dataset_(std::move(dataset)), pixels_per_step_(pixels_per_step), options_(options) {
  make_buckets();
  if (options_.training) join_small_buckets();
  const std::int64_t size = options_.global_batch;
  for (Bucket& bucket : buckets_) {
    const auto lines = static_cast<std::int64_t>(bucket.lines.size());
    bucket.first_batch = batches_;
    bucket.batches =
        options_.training ? std::max<std::int64_t>(1, (lines + size / 2) / size) : (lines + size - 1) / size;
    bucket.seed = philox(options_.seed, stream_of("lines of a width"), static_cast<std::uint64_t>(bucket.width))[0];
    batches_ += bucket.batches;
  }
}

void LineSource::make_buckets() {
  std::map<int, Bucket> by_width;
  for (std::int64_t line = 0; line < dataset_->lines(); ++line) {
    const int width = padded_width(dataset_->width(line));
    Bucket& bucket = by_width[width];
    bucket.width = width;
    bucket.longest = std::max(bucket.longest, dataset_->labels(line));
    bucket.lines.push_back(line);
  }
  for (auto& [width, bucket] : by_width) buckets_.push_back(std::move(bucket));
}

void LineSource::join_small_buckets() {
  const auto is_small = [&](const Bucket& bucket) {
    return static_cast<int>(bucket.lines.size()) < options_.global_batch;
  };
  const auto join = [](Bucket& wide, Bucket& narrow) {
    wide.width = std::max(wide.width, narrow.width);
    wide.longest = std::max(wide.longest, narrow.longest);
    wide.lines.insert(wide.lines.end(), narrow.lines.begin(), narrow.lines.end());
  };
  std::vector<Bucket> joined;
  for (Bucket& bucket : buckets_) {
    if (!joined.empty() && is_small(joined.back()))
      join(joined.back(), bucket);
    else
      joined.push_back(std::move(bucket));
  }
  if (joined.size() > 1 && is_small(joined.back())) {
    join(joined[joined.size() - 2], joined.back());
    joined.pop_back();
  }
  buckets_ = std::move(joined);
}

std::int64_t LineSource::samples() const {
  return options_.training ? batches_ * options_.global_batch : dataset_->lines();
}

LineSource::Place LineSource::place_of(std::int64_t batch) const {
  const std::int64_t drawn = SampleOrder(batches_, options_.seed, options_.training)(batch);
  const auto after = std::upper_bound(buckets_.begin(), buckets_.end(), drawn,
                                      [](std::int64_t number, const Bucket& b) { return number < b.first_batch; });
  const Bucket& bucket = *(after - 1);
  return {bucket, batch / batches_ * bucket.batches + drawn - bucket.first_batch};
}

std::vector<Field> LineSource::fields(std::int64_t batch) const {
  const Bucket& bucket = place_of(batch).bucket;
  return {{"image", DType::f32, {dataset_->height(), bucket.width, 1}},
          {"labels", DType::i32, {bucket.longest}},
          {"steps", DType::i32, {}}};
}

void LineSource::read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) {
  const Place place = place_of(batch);
  const Bucket& bucket = place.bucket;
  const auto size = static_cast<std::int64_t>(bucket.lines.size());
  const std::int64_t position = place.batch * options_.global_batch + index;
  const bool counts = options_.training || position < size;
  const SampleOrder order(size, bucket.seed, options_.training);
  Line line;
  {
    const std::lock_guard lock(mutex_);
    dataset_->read(bucket.lines[static_cast<std::size_t>(order(position))], line);
  }
  write_pixels(line, dataset_->height(), bucket.width, reinterpret_cast<float*>(fields[0]));
  auto* const labels = reinterpret_cast<std::int32_t*>(fields[1]);
  std::fill_n(labels, bucket.longest, -1);
  std::copy(line.labels.begin(), line.labels.end(), labels);
  if (!counts) labels[0] = -2;
  *reinterpret_cast<std::int32_t*>(fields[2]) = (line.width + pixels_per_step_ - 1) / pixels_per_step_;
}

}  // namespace trireme
