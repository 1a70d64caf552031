// Small training runs of an ERNIE, and labels to fine-tune it on.
#pragma once

#include <gmock/gmock.h>

#include "tests/app/training_support.h"

namespace trireme::test {

/// A packed data set, labels for it, and runs of a small ERNIE.
class ErnieTraining : public TrainingTest {
 protected:
  static std::string at(const std::string& name) { return (*shared / name).string(); }

  static void SetUpTestSuite() {
    shared = std::make_unique<TemporaryFolder>();
    write_text(at("text.txt"), learnable_text(12000));
    write_text(at("dict.txt"), "天地 9 n\n玄黄 9 ns\n宇宙洪 9 nt\n日月 9 n\n寒来 5 n\n秋收冬 7 nr\n");
    const ProcessResult packed = run_trireme(
        "pack text --tokenizer=wordpiece --vocabulary=100 --validation-share=0.1 --width=fold --dictionary=" +
        at("dict.txt") + " --input=" + at("text.txt") + " --output=" + at("train.h5") +
        " --validation-output=" + at("validation.h5"));
    ASSERT_EQ(packed.status, 0) << packed.err;
    EXPECT_THAT(packed.out, ::testing::HasSubstr("entities"));
    write_text(at("run.ini"), "data.train=" + at("train.h5") + R"(
[model]
arch = ernie
layers = 2
hidden = 32
heads = 4
context = 24
dropout = 0.1
order_weight = 0.3
[train]
global_batch = 8
micro_batch = 1
seed = 3
device = cpu
[optimizer]
learning_rate = 0.003
warmup_steps = 5
decay = constant
[log]
progress = none
)");
    // What a text begins with is its label; of tokens, whether they are 天.
    std::string texts, tokens;
    const std::string characters[] = {"天", "地", "玄", "黄"};
    for (int i = 0; i < 200; ++i) {
      texts += (i % 3 == 0 ? "one\t" : "other\t") + characters[i % 3 == 0 ? 0 : 1 + i % 2] + characters[i / 3 % 4] +
               characters[i / 7 % 4] + "\n";
      for (int t = 0; t < 5; ++t) {
        const int number = (i * 5 + t) / (t + 1) % 4;
        tokens += characters[number] + (number == 0 ? "\tB-X\n" : "\tO\n");
      }
      tokens += "\n";
    }
    write_text(at("texts.tsv"), texts);
    write_text(at("tokens.conll"), tokens);
  }

  static void pack_labels(const std::string& from, const std::string& of) {
    const ProcessResult packed = run_trireme("pack labels --of=" + of + " --input=" + at(from) + " --output=" + at(of) +
                                             ".h5 --tokenizer-from=" + at("train.h5"));
    ASSERT_EQ(packed.status, 0) << packed.err;
  }
  std::string fine_tune(const std::string& data) const {
    return arguments("--data.train=" + at(data) + " --train.init=" + (folder_ / "pretrained").string() + " ");
  }
};

}  // namespace trireme::test
