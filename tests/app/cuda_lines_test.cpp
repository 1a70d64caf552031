// Recognisers of text lines on a GPU: the run of the CPU, whatever the widths of the lines.
#include "tests/app/cuda_support.h"
#include "tests/app/line_support.h"

namespace trireme {
namespace {

using test::Layout;
using test::ProcessResult;

constexpr Layout one;
const std::string at_once = " --train.micro_batch=8 ";
const std::string bf16 = " --train.precision=bf16 ";

class CudaLines : public test::CudaRuns<test::LineTrainingTest>, public testing::WithParamInterface<const char*> {
 protected:
  static std::string arch() { return std::string("--model.arch=") + GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, CudaLines, testing::Values("crnn", "svtr"), [](const auto& arch) { return arch.param; });

TEST_P(CudaLines, IsTheRunOfTheCpu) {
  expect_same_run(train_on("cuda", one, 4, "cuda", arch()), train_on("cpu", one, 4, "cpu", arch()));
}

TEST_P(CudaLines, InBf16ItIsNearlyTheRunOfTheCpu) {
  const std::string more = arch() + at_once + bf16;
  expect_same_run(train_on("cuda", one, 3, "cuda", more), train_on("cpu", one, 3, "cpu", more), 0.02);
}

TEST_P(CudaLines, TwoRunsAreBitIdentical) {
  for (const std::string& more : {arch() + at_once, arch() + at_once + bf16})
    expect_identical(train_on("cuda", one, 3, "first", more), train_on("cuda", one, 3, "second", more));
}

/// In 10 steps each of the three widths comes often enough to be run, recorded and replayed.
TEST_P(CudaLines, StepsRecordedForEachWidthAreTheSteps) {
  const std::string graph = arch() + at_once + "--train.cuda_graph=";
  expect_identical(train_on("cuda", one, 10, "recorded", graph + "true"),
                   train_on("cuda", one, 10, "enqueued", graph + "false"));
}

TEST_P(CudaLines, ACheckpointGoesOnOnTheOtherDevice) {
  const std::string saved = arch() + checkpoints("moved");
  const auto wanted = train_on("cpu", one, 6, "at_once", arch());
  train_on("cpu", one, 2, "moved", saved);
  train_on("cuda", {2, 1, 1}, 4, "moved", saved);
  expect_same_run(train_on("cpu", one, 6, "moved", saved), wanted);
}

TEST_P(CudaLines, EvaluatesAndRecognizes) {
  train_on("cpu", one, 120, "reads", arch() + at_once + checkpoints("reads"));
  const auto evaluate = [&](const std::string& device) {
    const ProcessResult run =
        test::run_trireme("eval --train.global_batch=8 --train.device=" + device + validation() + checkpoints("reads"));
    EXPECT_EQ(run.status, 0) << run.err;
    return run.out.substr(run.out.find("character_error"));
  };
  EXPECT_EQ(evaluate("cuda"), evaluate("cpu"));
  test::write_picture(folder_ / "line.png", "dabca");
  const auto recognize = [&](const std::string& device) {
    const ProcessResult run = test::run_trireme("recognize --json --train.device=" + device + " " +
                                                (folder_ / "line.png").string() + checkpoints("reads"));
    EXPECT_EQ(run.status, 0) << run.err;
    return nlohmann::json::parse(run.out);
  };
  const auto found = recognize("cuda"), wanted = recognize("cpu");
  EXPECT_EQ(found["text"], wanted["text"]);
  EXPECT_NEAR(found["confidence"], wanted["confidence"], 1e-4);
}

}  // namespace
}  // namespace trireme
