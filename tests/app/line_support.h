// Lines of text that can be drawn and read without fonts, and runs on them.
#pragma once

#include <gtest/gtest.h>

#include <random>

#include "io/image.h"
#include "tests/app/training_support.h"

namespace trireme::test {

/// A stroke for each of the characters a..d, at a height that tells which: 12 pixels a character and 8 more.
inline Image picture_of(const std::string& text) {
  Image image{.width = 12 * static_cast<int>(text.size()) + 8, .height = 32, .channels = 1};
  image.pixels.assign(static_cast<std::size_t>(image.width) * 32, 230);
  for (std::size_t i = 0; i < text.size(); ++i)
    for (int y = 0; y < 6; ++y)
      for (int x = 0; x < 8; ++x)
        image.pixels[static_cast<std::size_t>((4 + 6 * (text[i] - 'a') + y) * image.width) + 6 + 12 * i +
                     static_cast<std::size_t>(x)] = 20;
  return image;
}

inline void write_picture(const std::filesystem::path& file, const std::string& text) {
  const auto bytes = encode_png(picture_of(text));
  write_text(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// Runs of a small recogniser. Its lines are of three padded widths, 32, 64 and 96.
class LineTrainingTest : public TrainingTest {
 protected:
  static void SetUpTestSuite() {
    shared = std::make_unique<TemporaryFolder>();
    std::mt19937 random(1);
    std::string list;
    for (int i = 0; i < 96; ++i) {
      std::string text;
      for (unsigned letters = 2 + random() % 5; letters > 0; --letters) text += static_cast<char>('a' + random() % 4);
      const std::string name = std::to_string(i) + ".png";
      write_picture(*shared / name, text);
      list += name + "\t" + text + "\n";
    }
    write_text(*shared / "list.txt", list);
    const ProcessResult packed =
        run_trireme("pack ocr --from=images --validation-share=0.2 --input=" + (*shared / "list.txt").string() +
                    " --output=" + (*shared / "train.h5").string() +
                    " --validation-output=" + (*shared / "validation.h5").string());
    ASSERT_EQ(packed.status, 0) << packed.err;
    write_text(*shared / "run.ini", "data.train=" + (*shared / "train.h5").string() + R"(
[model]
arch = crnn
channels = 4
layers = 1
hidden = 12
heads = 2
[train]
global_batch = 8
micro_batch = 2
seed = 3
device = cpu
[optimizer]
learning_rate = 0.01
warmup_steps = 5
decay = constant
weight_decay = 0
[log]
progress = none
)");
  }
  static std::string validation() { return " --data.validation=" + (*shared / "validation.h5").string() + " "; }
};

}  // namespace trireme::test
