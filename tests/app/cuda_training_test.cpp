// Training on a GPU: the same run as on the CPU, on any layout, stopped and restarted anywhere. Several ranks share one
// GPU here: their tensors go through host memory.
#include <gtest/gtest.h>

#include <cmath>

#include "app/monitor/nvml.h"
#include "kernels/backend.h"
#include "tests/app/cuda_support.h"

namespace trireme {
namespace {

using test::Layout;

class CudaTraining : public test::CudaRuns<test::TrainingTest> {};

constexpr const char* llama =
    "--model.norm=rms --model.activation=swiglu --model.positions=rotary --model.key_value_heads=2 --model.bias=false "
    "--model.feed_forward=64 --model.tie_embeddings=false";

TEST_F(CudaTraining, IsTheRunOfTheCpu) {
  expect_same_run(train_on("cuda", {1, 1, 1}, 4, "cuda"), train_on("cpu", {1, 1, 1}, 4, "cpu"));
  expect_same_run(train_on("cuda", {1, 1, 1}, 2, "cuda_llama", llama),
                  train_on("cpu", {1, 1, 1}, 2, "cpu_llama", llama));
}

TEST_F(CudaTraining, EveryLayoutIsTheSameRun) {
  const auto wanted = train_on("cpu", {1, 1, 1}, 2, "one");
  for (const Layout layout : {Layout{2, 1, 1}, Layout{1, 2, 1}, Layout{1, 1, 2}, Layout{1, 2, 2}}) {
    SCOPED_TRACE(layout.name());
    expect_same_run(train_on("cuda", layout, 2, layout.name()), wanted);
  }
}

TEST_F(CudaTraining, TwoRunsAreBitIdentical) {
  for (const char* precision : {"--train.precision=fp32", "--train.precision=bf16"})
    expect_identical(train_on("cuda", {1, 1, 1}, 3, "first", precision),
                     train_on("cuda", {1, 1, 1}, 3, "second", precision));
}

TEST_F(CudaTraining, ARecordedStepIsTheStep) {
  const std::string graph = "--model.dropout=0 --train.cuda_graph=";
  expect_identical(train_on("cuda", {1, 1, 1}, 4, "recorded", graph + "true"),
                   train_on("cuda", {1, 1, 1}, 4, "enqueued", graph + "false"));
}

TEST_F(CudaTraining, ACheckpointGoesOnOnTheOtherDevice) {
  const auto wanted = train_on("cpu", {1, 1, 1}, 6, "at_once");
  train_on("cpu", {1, 1, 1}, 2, "moved", checkpoints("moved"));
  train_on("cuda", {2, 1, 1}, 4, "moved", checkpoints("moved"));
  expect_same_run(train_on("cpu", {1, 1, 1}, 6, "moved", checkpoints("moved")), wanted);
}

TEST_F(CudaTraining, RestartIsBitIdentical) {
  const std::string bf16 = "--train.precision=bf16 ";
  const auto wanted = train_on("cuda", {1, 1, 1}, 4, "at_once", bf16);
  train_on("cuda", {1, 1, 1}, 2, "halves", bf16 + checkpoints("halves"));
  expect_identical(train_on("cuda", {1, 1, 1}, 4, "halves", bf16 + checkpoints("halves")), wanted);
}

TEST_F(CudaTraining, EventsTellWhatTheGpusCouldDo) {
  const auto events = folder_ / "events.jsonl";
  train_on("cuda", {2, 1, 1}, 1, "told", "--train.precision=bf16 --log.events=" + events.string());
  std::istringstream text(test::read_text(events));
  std::string begin;
  std::getline(text, begin);
  const double one = peak_bf16_flops(make_cuda_backend(0)->description()).value_or(0);  // 0: not in our list
  EXPECT_EQ(nlohmann::json::parse(begin)["flops_a_second"], 2 * one);
}

TEST_F(CudaTraining, EvaluatesAndSamples) {
  train_on("cuda", {1, 1, 1}, 2, "run", checkpoints("run"));
  const auto loss = [&](const std::string& device) {
    const auto result =
        test::run_trireme("eval --train.device=" + device + " --train.global_batch=4 " +
                          "--data.validation=" + (*shared / "validation.h5").string() + checkpoints("run"));
    EXPECT_EQ(result.status, 0) << result.err;
    return std::stod(result.out.substr(result.out.find("loss ") + 5));
  };
  const double wanted = loss("cpu");
  EXPECT_NEAR(loss("cuda"), wanted, 1e-4 * wanted);
  const auto sample = test::run_trireme("sample --train.device=cuda --prompt=天地 --tokens=5 " + checkpoints("run"));
  EXPECT_EQ(sample.status, 0) << sample.err;
  EXPECT_TRUE(sample.out.starts_with("天地")) << sample.out;
}

/// On text that no run of 200 steps sees twice: what is learned by heart has a loss near 0, of which 1% is nothing.
TEST_F(CudaTraining, LongBf16StaysWithin1PercentOfFp32) {
  const std::string text = (folder_ / "long.txt").string();
  const std::string data = (folder_ / "long.h5").string();
  test::write_text(text, test::learnable_text(420000));
  const auto packed =
      test::run_trireme("pack text --tokenizer=characters --vocabulary=100 --input=" + text + " --output=" + data);
  ASSERT_EQ(packed.status, 0) << packed.err;
  const std::string quickstart =
      "--model.layers=4 --model.hidden=192 --model.heads=6 --model.context=128 --model.norm=rms "
      "--model.activation=swiglu --model.positions=rotary --model.bias=false --model.dropout=0 --train.global_batch=16 "
      "--train.micro_batch=4 --data.train=" +
      data + " --train.precision=";
  const auto exact = train_on("cuda", {1, 1, 1}, 200, "fp32", quickstart + "fp32");
  const auto rounded = train_on("cuda", {1, 1, 1}, 200, "bf16", quickstart + "bf16");
  ASSERT_EQ(exact.size(), 200U);
  ASSERT_EQ(rounded.size(), exact.size());
  double difference = 0, sum = 0;  // of 50 steps: while the loss falls fast, single steps differ by up to 2%
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double loss = exact[i]["loss"];
    EXPECT_NEAR(rounded[i]["loss"], loss, 0.03 * loss) << "step " << i + 1;
    difference += rounded[i]["loss"].get<double>() - loss;
    sum += loss;
    if (i % 50 != 49) continue;
    EXPECT_LT(std::abs(difference), 0.01 * sum) << "the 50 steps up to " << i + 1;
    difference = sum = 0;
  }
}

}  // namespace
}  // namespace trireme
