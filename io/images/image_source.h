// Samples of image classifiers: decoded, cut, resized and changed at random in training.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/images/image_dataset.h"
#include "io/sample_order.h"
#include "io/source.h"

namespace trireme {

/// What training takes of an image. resized: a box of a random share and shape of it, scaled (Szegedy et al. 2015).
/// padded: all of it, moved by up to `padding` pixels (for small images). whole: the middle square.
enum class CropKind { resized, padded, whole };

struct Augmentation {
  CropKind crop = CropKind::resized;
  double smallest_area = 0.08;  ///< share of the image that `resized` takes at least
  int padding = 4;
  bool flip = true;          ///< left and right change places in half of the samples
  double colour_jitter = 0;  ///< brightness, contrast and saturation change by up to this share
};

/// The crop and scale of an image file that an evaluation takes: u8 [size, size, channels]. Refuses what
/// does not decode, naming `name`.
void prepare_image(std::span<const std::byte> file, const std::string& name, int channels, int size, CropKind crop,
                   std::span<std::uint8_t> out);

/// Fields: image u8 [size, size, channels], which the model normalises; class i32, -1 where nothing counts.
///
/// In training, sample s of the run is the image that SampleOrder(seed) puts at place s, and its changes are drawn from
/// Philox by seed and s: the same whatever the number of threads and ranks. An evaluation takes the middle square, with
/// `resized` crops 7/8 of the shorter side (224 of 256), scaled.
class ImageSource final : public Source {
 public:
  ImageSource(std::shared_ptr<const ImageDataset> dataset, int size, const Augmentation& augmentation,
              const SourceOptions& options);
  std::int64_t samples() const override { return dataset_->images(); }
  std::int64_t batches() const override;
  std::vector<Field> fields(std::int64_t batch) const override;
  /// Refuses an image that does not decode, naming it.
  void read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) override;

 private:
  void draw(std::int64_t image, std::int64_t place, std::span<std::uint8_t> out) const;

  std::shared_ptr<const ImageDataset> dataset_;
  int size_, channels_;
  Augmentation augmentation_;
  SourceOptions options_;
  SampleOrder order_;
};

}  // namespace trireme
