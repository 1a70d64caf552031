// Samples of line recognisers: pictures of lines, batched by width.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "io/image.h"
#include "io/lines/line_dataset.h"
#include "io/sample_order.h"
#include "io/source.h"

namespace trireme {

/// Width that a line is filled up to: the next multiple of an eighth of the power of two below it, and of 32 at least.
/// Few different widths, and at most an eighth is added (more below 256).
int padded_width(int width);

/// Pixels as models take them, -1 (black) to 1 (white), f32 [height, padded]: the picture, with its last column
/// repeated to the right.
void write_pixels(const Line& line, int height, int padded, float* out);

/// The way back: pixels of a sample of `shape` [height, width, 1] as people look at them.
Image picture_of(std::span<const float> pixels, const Shape& shape);

/// Fields: image f32 [height, width, 1], labels i32 [longest], filled up with -1, and steps i32: how many time steps
/// of a recogniser that makes one of `pixels_per_step` columns the picture takes without what fills it up.
///
/// Lines of one padded width make a bucket; a batch is of one bucket. In training, buckets with less than a batch join
/// the next wider one; a pass has as many batches of each bucket as its lines make, rounded to the nearest, in an order
/// that is drawn anew for every pass; and the lines of a bucket come in the order of SampleOrder, pass after pass
/// without a gap between them. So batch n is a function of the seed and n alone. An evaluation takes bucket after
/// bucket, every line once; what fills up a bucket's last batch has -2 as its first label and does not count.
///
/// Recurrent layers and attention see what fills up a line's width. In an evaluation, as in `trireme recognize`, that
/// is a function of the line alone, so what is read does not depend on the lines beside it.
class LineSource final : public Source {
 public:
  LineSource(std::shared_ptr<LineDataset> dataset, int pixels_per_step, const SourceOptions& options);
  std::int64_t samples() const override;
  std::int64_t batches() const override { return batches_; }
  std::vector<Field> fields(std::int64_t batch) const override;
  void read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) override;

 private:
  struct Bucket {
    int width = 0;                    ///< padded
    int longest = 1;                  ///< labels
    std::vector<std::int64_t> lines;  ///< of the data set
    std::int64_t first_batch = 0, batches = 0;
    std::uint64_t seed = 0;
  };
  struct Place {
    const Bucket& bucket;
    std::int64_t batch;  ///< of this bucket in the run
  };

  void make_buckets();
  void join_small_buckets();
  Place place_of(std::int64_t batch) const;

  std::shared_ptr<LineDataset> dataset_;
  int pixels_per_step_;
  SourceOptions options_;
  std::vector<Bucket> buckets_;
  std::int64_t batches_ = 0;  ///< of a pass
  std::mutex mutex_;          ///< of the data set, which one thread may use at a time
};

}  // namespace trireme
