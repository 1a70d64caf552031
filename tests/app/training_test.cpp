// The same run on any layout, stopped and restarted anywhere: real runs of the executable.
#include <gtest/gtest.h>

#include <cmath>

#include "app/options.h"
#include "io/checkpoint/checkpoint.h"
#include "io/dataset.h"
#include "io/hdf5.h"
#include "tests/app/training_support.h"
#include "tests/support/reference_gpt.h"

namespace trireme {
namespace {

using test::Layout;
using test::mpirun;
using test::ProcessResult;

class Training : public test::TrainingTest {};

TEST_F(Training, LongEveryLayoutIsTheSameRun) {
  const auto wanted = train({1, 1, 1}, 20, "one");
  ASSERT_EQ(wanted.size(), 20U);
  EXPECT_LT(wanted.back()["loss"], wanted.front()["loss"]) << "it learns";
  for (const Layout layout : {Layout{2, 1, 1}, Layout{1, 2, 1}, Layout{1, 1, 2}, Layout{2, 2, 1}, Layout{2, 1, 2},
                              Layout{1, 2, 2}, Layout{2, 2, 2}}) {
    SCOPED_TRACE(layout.name());
    expect_close(train(layout, 20, layout.name()), wanted);
  }
}

TEST_F(Training, LongLlamaIsTheSameRunOnEveryAxis) {
  const std::string llama =
      "--model.norm=rms --model.activation=swiglu --model.positions=rotary --model.key_value_heads=2 "
      "--model.bias=false "
      "--model.feed_forward=64 --model.tie_embeddings=false";
  const auto wanted = train({1, 1, 1}, 10, "one", llama);
  expect_close(train({2, 2, 2}, 10, "eight", llama), wanted);
}

TEST_F(Training, SchedulesGiveTheSameBits) {
  const Layout layout{1, 1, 2};
  expect_identical(train(layout, 8, "gpipe", "--parallel.schedule=gpipe"),
                   train(layout, 8, "1f1b", "--parallel.schedule=1f1b"));
}

TEST_F(Training, Bf16FollowsFp32) {
  const auto exact = train({1, 1, 1}, 20, "fp32");
  const auto rounded = train({1, 1, 1}, 20, "bf16", "--train.precision=bf16");
  for (std::size_t i = 0; i < exact.size(); ++i)
    EXPECT_NEAR(rounded[i]["loss"], exact[i]["loss"].get<double>(), 0.02 * exact[i]["loss"].get<double>());
}

TEST_F(Training, RestartOnTheSameLayoutIsBitIdentical) {
  const Layout layout{2, 1, 2};
  const auto wanted = train(layout, 20, "at_once");
  train(layout, 10, "halves", checkpoints("halves"));
  expect_identical(train(layout, 20, "halves", checkpoints("halves")), wanted);
}

TEST_F(Training, RestartOnAnotherLayoutAgrees) {
  const auto wanted = train({1, 1, 1}, 20, "at_once");
  train({1, 2, 1}, 7, "moved", checkpoints("moved"));
  train({2, 1, 2}, 14, "moved", checkpoints("moved"));
  expect_close(train({1, 2, 2}, 20, "moved", checkpoints("moved")), wanted);
}

TEST_F(Training, StopsOnRequestAndGoesOnWithTheSameCommand) {
  constexpr int steps = 200;
  const auto wanted = train({2, 1, 1}, steps, "undisturbed");
  const std::string metrics = (folder_ / "stopped.jsonl").string();
  const std::string command = arguments("--train.steps=" + std::to_string(steps) +
                                        " --parallel.data=2 --log.metrics=" + metrics + checkpoints("stopped"));
  // The signal goes out when the metrics file shows that the third step is done.
  const std::string started = test::mpirun_script() + " 2 " + test::trireme_executable() + " " + command;
  const ProcessResult stopped =
      test::run_shell("touch " + metrics + "; " + started + " & child=$!; while [ $(wc -l <" + metrics +
                      ") -lt 3 ] && kill -0 $child; do :; done; kill -USR1 $child; wait $child");
  EXPECT_EQ(stopped.status, 75) << stopped.err;
  const std::size_t done = read_metrics("stopped").size();
  EXPECT_GE(done, 3U);
  EXPECT_LT(done, std::size_t{steps}) << "it was to stop before the end";
  const ProcessResult rest = mpirun(2, command);
  EXPECT_EQ(rest.status, 0) << rest.err;
  expect_identical(read_metrics("stopped"), wanted);
}

/// Whole parameters as any HDF5 tool sees them: through the virtual datasets of model.h5.
testing::ReferenceParameters read_model(const std::filesystem::path& checkpoint) {
  testing::ReferenceParameters result;
  CheckpointReader reader(checkpoint);
  const hdf5::Handle file = hdf5::open_file(checkpoint / "model.h5");
  for (const CheckpointEntry& entry : reader.entries()) {
    const std::string prefix = "parameters/";
    if (!entry.path.starts_with(prefix)) continue;
    std::vector<float> values(static_cast<std::size_t>(entry.shape.elements()));
    hdf5::read(hdf5::open_object(file, entry.path), {}, entry.shape, values.data());
    result[entry.path.substr(prefix.size())] = std::vector<double>(values.begin(), values.end());
  }
  return result;
}

TEST_F(Training, CheckpointInTheReferenceImplementationGivesTheSameLoss) {
  train({1, 2, 2}, 15, "run", checkpoints("run"));
  const auto folder = folder_ / "run" / "step-00000015";
  const std::string validation = (*shared / "validation.h5").string();
  const ProcessResult eval = mpirun(
      2, "eval --parallel.pipeline=2 --train.global_batch=4 --train.micro_batch=2 --data.validation=" + validation +
             checkpoints("run"));
  ASSERT_EQ(eval.status, 0) << eval.err;
  const double found = std::stod(eval.out.substr(eval.out.find("loss ") + 5));

  GptConfig config = parse_ini(CheckpointReader(folder).info().configuration).model;
  TokenDataset data({validation});
  const auto samples = static_cast<std::size_t>((data.tokens() - 1) / config.context);
  std::vector<std::int32_t> tokens(samples * static_cast<std::size_t>(config.context) + 1);
  data.read(0, tokens);
  const std::vector<std::int32_t> targets(tokens.begin() + 1, tokens.end());
  tokens.pop_back();
  const double wanted = testing::reference_gpt_loss(config, read_model(folder), tokens, targets, config.context);
  EXPECT_NEAR(found, wanted, 2e-6 * wanted);
  EXPECT_LT(wanted, std::log(25.0)) << "it has learned something";
}

TEST_F(Training, SamplesTextFromACheckpoint) {
  train({1, 1, 1}, 5, "run", checkpoints("run"));
  const std::string command = "sample --prompt=天地 --tokens=20 --seed=4 " + checkpoints("run");
  const ProcessResult first = test::run_trireme(command);
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_TRUE(first.out.starts_with("天地")) << first.out;
  EXPECT_GT(first.out.size(), 30U);
  EXPECT_EQ(test::run_trireme(command).out, first.out) << "the seed decides";
  EXPECT_NE(test::run_trireme(command + " --sample.seed=5").out, first.out);
}

}  // namespace
}  // namespace trireme
