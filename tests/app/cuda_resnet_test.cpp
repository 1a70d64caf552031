// ResNet on a GPU: the run of the CPU.
#include "tests/app/cuda_support.h"
#include "tests/app/image_support.h"

namespace trireme {
namespace {

using test::Layout;
using test::ProcessResult;

constexpr Layout one;
const std::string small = "--model.depth=10 ";

class CudaResnet : public test::CudaRuns<test::ResnetTrainingTest> {};

TEST_F(CudaResnet, IsTheRunOfTheCpu) {
  const std::string bottlenecks = "--model.depth=50 ";
  expect_same_run(train_on("cuda", one, 2, "cuda", bottlenecks), train_on("cpu", one, 2, "cpu", bottlenecks));
  expect_same_run(train_on("cuda", {2, 1, 1}, 3, "ranks", small), train_on("cpu", one, 3, "small", small));
}

TEST_F(CudaResnet, InBf16ItIsNearlyTheRunOfTheCpu) {
  const std::string bf16 = small + "--train.precision=bf16 ";
  expect_same_run(train_on("cuda", one, 3, "cuda", bf16), train_on("cpu", one, 3, "cpu", bf16), 0.02);
}

TEST_F(CudaResnet, TwoRunsAreBitIdentical) {
  for (const char* precision : {"--train.precision=fp32", "--train.precision=bf16"})
    expect_identical(train_on("cuda", one, 3, "first", small + precision),
                     train_on("cuda", one, 3, "second", small + precision));
}

TEST_F(CudaResnet, ARecordedStepIsTheStep) {
  const std::string graph = small + "--train.cuda_graph=";
  expect_identical(train_on("cuda", one, 4, "recorded", graph + "true"),
                   train_on("cuda", one, 4, "enqueued", graph + "false"));
}

/// With the running statistics, which evaluation uses.
TEST_F(CudaResnet, ACheckpointGoesOnOnTheOtherDevice) {
  const auto wanted = train_on("cpu", one, 6, "at_once", small);
  train_on("cpu", one, 2, "moved", small + checkpoints("moved"));
  train_on("cuda", one, 4, "moved", small + checkpoints("moved"));
  expect_same_run(train_on("cpu", one, 6, "moved", small + checkpoints("moved")), wanted);
  const auto loss = [&](const std::string& device) {
    const ProcessResult run =
        test::run_trireme("eval --data.crop=padded --train.global_batch=8 --train.device=" + device +
                          " --data.validation=" + (*shared / "validation.h5").string() + checkpoints("moved"));
    EXPECT_EQ(run.status, 0) << run.err;
    return std::stod(run.out.substr(run.out.find("loss ") + 5));
  };
  const double on_cpu = loss("cpu");
  EXPECT_NEAR(loss("cuda"), on_cpu, 1e-3 * on_cpu);
}

}  // namespace
}  // namespace trireme
