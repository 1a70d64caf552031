// Images of three classes, and runs of a small ResNet on them.
#pragma once

#include <random>
#include <vector>

#include "io/images/image_dataset.h"
#include "tests/app/training_support.h"

namespace trireme::test {

/// Grey squares on noise: where the square is tells the class.
inline void write_images(const std::filesystem::path& file, int images, unsigned seed) {
  constexpr int size = 16;
  std::mt19937 random(seed);
  ImageDatasetWriter writer(file, classes_blob({"left", "right", "none"}, 1), size, size);
  for (int i = 0; i < images; ++i) {
    const int label = i % 3;
    std::vector<std::byte> pixels(size * size);
    for (int at = 0; at < size * size; ++at) {
      const bool bright = label < 2 && at / size > 4 && at / size < 11 && (at % size < size / 2) == (label == 0);
      pixels[static_cast<std::size_t>(at)] = static_cast<std::byte>(random() % 100 + (bright ? 120 : 0));
    }
    writer.append(pixels, label);
  }
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
