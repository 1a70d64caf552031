// Images of three classes, and runs of a small ResNet on them.
#pragma once

#include <random>
#include <vector>

#include "io/images/image_dataset.h"
#include "tests/app/training_support.h"

namespace trireme::test {

inline constexpr int image_size = 16;
inline const std::vector<std::string> image_classes = {"left", "right", "none"};  // of image i: i % 3

/// Grey squares on noise: where the square is tells the class.
inline std::vector<std::vector<std::byte>> make_images(int images, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::vector<std::byte>> all;
  for (int i = 0; i < images; ++i) {
    const int label = i % 3;
    auto& pixels = all.emplace_back(image_size * image_size);
    for (int at = 0; at < image_size * image_size; ++at) {
      const int row = at / image_size, column = at % image_size;
      const bool bright = label < 2 && row > 4 && row < 11 && (column < image_size / 2) == (label == 0);
      pixels[static_cast<std::size_t>(at)] = static_cast<std::byte>(random() % 100 + (bright ? 120 : 0));
    }
  }
  return all;
}

inline void write_images(const std::filesystem::path& file, int images, unsigned seed) {
  ImageDatasetWriter writer(file, classes_blob(image_classes, 1), image_size, image_size);
  int label = 0;
  for (const auto& pixels : make_images(images, seed)) writer.append(pixels, label++ % 3);
  writer.commit();
}

class ResnetTrainingTest : public TrainingTest {
 protected:
  static void SetUpTestSuite() {
    shared = std::make_unique<TemporaryFolder>();
    write_images(*shared / "train.h5", 90, 1);
    write_images(*shared / "validation.h5", 13, 2);
    write_text(*shared / "run.ini", "data.train=" + (*shared / "train.h5").string() + R"(
[model]
arch = resnet
depth = 50
base_width = 4
stem = small
image_size = 16
label_smoothing = 0.1
[data]
crop = padded
padding = 2
flip = false
[train]
global_batch = 8
micro_batch = 4
seed = 3
device = cpu
[optimizer]
name = sgd
learning_rate = 0.02
warmup_steps = 2
decay = constant
weight_decay = 1e-4
clip_norm = 0
[log]
progress = none
)");
  }
};

}  // namespace trireme::test
