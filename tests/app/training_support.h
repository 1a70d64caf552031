// Small training runs of the built executable under mpirun, and what they log.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/app/support.h"

namespace trireme::test {

struct Layout {
  int data = 1, tensor = 1, pipeline = 1;
  int ranks() const { return data * tensor * pipeline; }
  std::string name() const {
    return std::to_string(data) + "x" + std::to_string(tensor) + "x" + std::to_string(pipeline);
  }
  std::string arguments() const {
    return " --parallel.data=" + std::to_string(data) + " --parallel.tensor=" + std::to_string(tensor) +
           " --parallel.pipeline=" + std::to_string(pipeline);
  }
};

inline ProcessResult mpirun(int ranks, const std::string& arguments) {
  return run_shell(mpirun_script() + " " + std::to_string(ranks) + " " + trireme_executable() + " " + arguments);
}

/// Text with something to learn: each character mostly decides the next.
inline std::string learnable_text(int characters) {
  const std::vector<std::string> alphabet = {"天", "地", "玄", "黄", "宇", "宙", "洪", "荒", "日", "月", "盈", "昃",
                                             "辰", "宿", "列", "张", "寒", "来", "暑", "往", "秋", "收", "冬", "藏"};
  std::mt19937 random(1);
  std::string text;
  std::size_t at = 0;
  for (int i = 0; i < characters; ++i) {
    at = random() % 4 == 0 ? random() % alphabet.size() : (at * 5 + 7) % alphabet.size();
    text += alphabet[at];
    if (i % 40 == 39) text += '\n';
  }
  return text;
}

/// A packed data set that all tests of a program share, and runs on it.
class TrainingTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared = std::make_unique<TemporaryFolder>();
    write_text(*shared / "text.txt", learnable_text(12000));
    const ProcessResult packed =
        run_trireme("pack text --tokenizer=characters --vocabulary=100 --validation-share=0.1 --input=" +
                    (*shared / "text.txt").string() + " --output=" + (*shared / "train.h5").string() +
                    " --validation-output=" + (*shared / "validation.h5").string());
    ASSERT_EQ(packed.status, 0) << packed.err;
    write_text(*shared / "run.ini", "data.train=" + (*shared / "train.h5").string() + R"(
[model]
layers = 2
hidden = 32
heads = 4
context = 16
dropout = 0.1
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
  }
  static void TearDownTestSuite() { shared.reset(); }

  /// Arguments of a run with dropout that every layout up to 2 x 2 x 2 can do. What is in its file can be overruled.
  static std::string arguments(const std::string& more) {
    return "train --config=" + (*shared / "run.ini").string() + " " + more;
  }
  /// Trains on a layout; returns the metrics lines.
  std::vector<nlohmann::json> train(const Layout& layout, int steps, const std::string& name,
                                    const std::string& more = "") {
    const auto metrics = folder_ / (name + ".jsonl");
    const ProcessResult run =
        mpirun(layout.ranks(), arguments("--train.steps=" + std::to_string(steps) + layout.arguments() +
                                         " --log.metrics=" + metrics.string() + " " + more));
    EXPECT_EQ(run.status, 0) << run.err;
    return read_metrics(name);
  }
  std::vector<nlohmann::json> read_metrics(const std::string& name) const {
    std::vector<nlohmann::json> lines;
    std::istringstream text(read_text(folder_ / (name + ".jsonl")));
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
  std::string checkpoints(const std::string& name) const {
    return " --checkpoint.directory=" + (folder_ / name).string() + " ";
  }

  static void expect_close(const std::vector<nlohmann::json>& found, const std::vector<nlohmann::json>& wanted) {
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const double loss = wanted[i]["loss"];
      const double norm = wanted[i]["grad_norm"];
      EXPECT_EQ(found[i]["step"], wanted[i]["step"]);
      EXPECT_NEAR(found[i]["loss"], loss, 1e-5 * loss) << "step " << i + 1;
      EXPECT_NEAR(found[i]["grad_norm"], norm, 1e-4 * norm) << "step " << i + 1;
    }
  }
  /// Every number that does not measure time is the same to the last bit.
  static void expect_identical(const std::vector<nlohmann::json>& found, const std::vector<nlohmann::json>& wanted) {
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i)
      for (const char* key : {"step", "loss", "grad_norm", "learning_rate", "samples", "tokens"})
        EXPECT_EQ(found[i].value(key, nlohmann::json()).dump(), wanted[i].value(key, nlohmann::json()).dump())
            << key << " of line " << i + 1;  // samples of some models have no tokens
  }

  TemporaryFolder folder_;
  static inline std::unique_ptr<TemporaryFolder> shared;
};

}  // namespace trireme::test
