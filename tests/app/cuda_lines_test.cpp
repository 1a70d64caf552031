// Recognisers of text lines on a GPU: the run of the CPU, whatever the widths of the lines.
#include "tests/app/cuda_support.h"
#include "tests/app/line_support.h"

namespace trireme {
namespace {

using test::Layout;
using test::ProcessResult;

const std::vector<std::string> recognisers = {"--model.arch=crnn ", "--model.arch=svtr "};
constexpr Layout one;

class CudaLines : public test::CudaRuns<test::LineTrainingTest> {};

TEST_F(CudaLines, IsTheRunOfTheCpu) {
  for (const std::string& arch : recognisers)
    expect_same_run(train_on("cuda", one, 5, "cuda", arch), train_on("cpu", one, 5, "cpu", arch));
}

TEST_F(CudaLines, InBf16ItIsNearlyTheRunOfTheCpu) {
  const std::string bf16 = "--train.precision=bf16 ";
  for (const std::string& arch : recognisers)
    expect_same_run(train_on("cuda", one, 3, "cuda", arch + bf16), train_on("cpu", one, 3, "cpu", arch + bf16), 0.02);
}

TEST_F(CudaLines, TwoRunsAreBitIdentical) {
  for (const std::string& arch : recognisers)
    for (const char* precision : {"--train.precision=fp32", "--train.precision=bf16"})
      expect_identical(train_on("cuda", one, 3, "first", arch + precision),
                       train_on("cuda", one, 3, "second", arch + precision));
}

/// In 12 steps each of the three widths comes often enough to be run, recorded and replayed.
TEST_F(CudaLines, StepsRecordedForEachWidthAreTheSteps) {
  for (const std::string& arch : recognisers) {
    const std::string graph = arch + "--train.micro_batch=4 --train.cuda_graph=";
    expect_identical(train_on("cuda", one, 12, "recorded", graph + "true"),
                     train_on("cuda", one, 12, "enqueued", graph + "false"));
  }
}

TEST_F(CudaLines, ACheckpointGoesOnOnTheOtherDevice) {
  for (const std::string& arch : recognisers) {
    const std::string saved = arch + checkpoints(arch.substr(arch.size() - 5, 4));
    const auto wanted = train_on("cpu", one, 6, "at_once", arch);
    train_on("cpu", one, 2, "moved", saved);
    train_on("cuda", {2, 1, 1}, 4, "moved", saved);
    expect_same_run(train_on("cpu", one, 6, "moved", saved), wanted);
    std::filesystem::remove(folder_ / "moved.jsonl");
  }
}

TEST_F(CudaLines, EvaluatesAndRecognizes) {
  train_on("cpu", one, 120, "reads", "--train.micro_batch=8" + checkpoints("reads"));
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
