// model.arch=resnet as real runs of the executable: layouts, restart, evaluation.
#include <gtest/gtest.h>

#include "tests/app/image_support.h"

namespace trireme {
namespace {

using test::Layout;
using test::ProcessResult;

class ResnetTraining : public test::ResnetTrainingTest {};

TEST_F(ResnetTraining, PipelineStagesAndDataRanksAreTheSameRun) {
  const auto wanted = train({1, 1, 1}, 6, "one");
  ASSERT_EQ(wanted.size(), 6U);
  expect_close(train({1, 1, 4}, 6, "stages"), wanted);
  expect_close(train({2, 1, 1}, 6, "ranks"), wanted);
}

TEST_F(ResnetTraining, SynchronisedNormsMakeOneBatchOfTheRanks) {
  const std::string sync = "--model.batch_norm=sync";
  const auto wanted = train({1, 1, 1}, 6, "one", sync + " --train.micro_batch=8");
  expect_close(train({2, 1, 1}, 6, "two", sync + " --train.micro_batch=4"), wanted);
  expect_close(train({2, 1, 2}, 6, "four", sync + " --train.micro_batch=4"), wanted);
}

TEST_F(ResnetTraining, RestartIsBitIdenticalAndEvaluationIsExact) {
  const Layout layout{2, 1, 2};
  const auto wanted = train(layout, 10, "at_once");
  train(layout, 5, "halves", checkpoints("halves"));
  expect_identical(train(layout, 10, "halves", checkpoints("halves")), wanted);

  // 13 images by batches that do not divide them, on one rank and on two.
  const auto evaluate = [&](int ranks, int batch, int micro_batch) {
    const ProcessResult run =
        test::mpirun(ranks, "eval --data.validation=" + (*shared / "validation.h5").string() + checkpoints("halves") +
                                "--data.crop=padded --train.device=cpu --train.global_batch=" + std::to_string(batch) +
                                " --train.micro_batch=" + std::to_string(micro_batch));
    EXPECT_EQ(run.status, 0) << run.err;
    return run.out;
  };
  const std::string all = evaluate(1, 13, 13);
  EXPECT_NE(all.find("top1"), std::string::npos) << all;
  EXPECT_EQ(evaluate(1, 4, 2), all);
  EXPECT_EQ(evaluate(2, 10, 5), all);
}

TEST_F(ResnetTraining, LongItLearns) {
  const auto lines = train({1, 1, 1}, 60, "learns", "--model.depth=10 --train.micro_batch=8");
  EXPECT_LT(lines.back()["loss"].get<double>(), 0.7 * lines.front()["loss"].get<double>());
}

TEST_F(ResnetTraining, RefusesWhatContradictsTheData) {
  const auto refused = [&](const std::string& more) {
    const ProcessResult run = test::run_trireme(arguments(more));
    EXPECT_EQ(run.status, 2) << run.err;
    return run.err;
  };
  EXPECT_NE(refused("--model.image_classes=5").find("model.image_classes=5, but the data set has 3"),
            std::string::npos);
  EXPECT_NE(refused("--model.arch=gpt").find("trireme-images"), std::string::npos);
  EXPECT_NE(refused("--model.depth=20").find("model.depth=20"), std::string::npos);
}

}  // namespace
}  // namespace trireme
