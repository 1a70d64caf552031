// What a run shows of its samples in log.tensorboard and log.visualdl, on layouts of all axes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>

#include "tests/app/job.h"
#include "tests/app/training_support.h"
#include "tests/support/event_files.h"

namespace trireme {
namespace {

using test::Layout;
using test::Told;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::SizeIs;
using ::testing::StartsWith;

class Pictures : public test::TrainingTest {
 protected:
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  static std::string validation() {
    return "--data.validation=" + (*shared / "validation.h5").string() +
           " --train.validate_every=4 --train.validation_batches=1 ";
  }
  std::string drawn(const std::string& name) const {
    return validation() + "--log.sample_tokens=12 --log.tensorboard=" + at(name + ".tb") +
           " --log.visualdl=" + at(name + ".vdl") + " ";
  }
};

TEST_F(Pictures, TextsAreShownAtEachValidation) {
  train({1, 1, 1}, 10, "run", drawn("run"));
  const Told boards = test::read_tensorboard(at("run.tb"));
  ASSERT_THAT(boards.texts, ElementsAre(Key("samples/0"), Key("samples/1"), Key("samples/2"), Key("samples/3")));
  EXPECT_THAT(boards.pictures, IsEmpty());
  for (const auto& [tag, steps] : boards.texts) {
    ASSERT_THAT(steps, ElementsAre(Key(4), Key(8), Key(10))) << tag;
    const std::string& text = steps.at(10);
    EXPECT_THAT(text, StartsWith("    given:   ")) << "Markdown leaves it alone";
    EXPECT_EQ(text.substr(0, text.find("written:")), steps.at(4).substr(0, steps.at(4).find("written:")));
    EXPECT_GT(text.size() - text.find("written:"), 12U);
  }
  EXPECT_NE(boards.texts.at("samples/0"), boards.texts.at("samples/3"));

  // VisualDL has the same words.
  const Told deep = test::read_visualdl(at("run.vdl"));
  ASSERT_THAT(deep.texts, SizeIs(4));
  const std::regex line("(^|\n)");
  EXPECT_EQ(std::regex_replace(deep.texts.at("samples/2").at(8), line, "$1    "), boards.texts.at("samples/2").at(8));
}

TEST_F(Pictures, EveryLayoutShowsTheSame) {
  train({1, 1, 1}, 4, "one", drawn("one"));
  const Told wanted = test::read_tensorboard(at("one.tb"));
  ASSERT_THAT(wanted.texts, SizeIs(4));
  for (const Layout layout : {Layout{2, 1, 1}, Layout{1, 2, 2}}) {
    SCOPED_TRACE(layout.name());
    train(layout, 4, layout.name(), drawn(layout.name()));
    EXPECT_EQ(test::read_tensorboard(at(layout.name() + ".tb")).texts, wanted.texts);
  }
}

TEST_F(Pictures, AConfiguredPromptIsGoneOnFrom) {
  train({1, 1, 1}, 4, "run", drawn("run") + "--log.prompt=天地玄黄 --log.samples=2");
  const Told boards = test::read_tensorboard(at("run.tb"));
  ASSERT_THAT(boards.texts, SizeIs(2));
  for (const auto& [tag, steps] : boards.texts) EXPECT_THAT(steps.at(4), HasSubstr("given:   天地玄黄\n"));
  EXPECT_NE(boards.texts.at("samples/0").at(4), boards.texts.at("samples/1").at(4)) << "other draws";
}

TEST_F(Pictures, TrainingIsTheSameToTheLastBit) {
  const Layout layout{2, 1, 2};  // the second copy does not take part in what the first one is asked
  const auto with = train(layout, 10, "with", checkpoints("with/saved") + drawn("with/run"));
  const auto without = train(layout, 10, "without", checkpoints("without/saved") + validation());
  expect_identical(with, without);
  for (std::size_t i = 0; i < with.size(); ++i)
    EXPECT_EQ(with[i].value("validation_loss", 0.0), without[i].value("validation_loss", 0.0)) << i;
  EXPECT_THAT(test::read_tensorboard(at("with/run.tb")).texts, SizeIs(4));
  const auto parameters = test::contents_of(folder_ / "without" / "saved" / "step-00000010");
  EXPECT_GT(parameters.size(), 30U);
  EXPECT_TRUE(test::contents_of(folder_ / "with" / "saved" / "step-00000010") == parameters)
      << "parameters or optimizer differ";
}

TEST_F(Pictures, ADiskThatStopsAnsweringHoldsUpNoStep) {
  if (!std::filesystem::exists(test::stall_library())) GTEST_SKIP() << "not built here: " << test::stall_library();
  // The thread that writes is stuck; then whatever the training thread itself would write.
  for (const bool main : {false, true}) {
    const std::string name = main ? "main" : "writer";
    const auto metrics = folder_ / (name + ".jsonl"), trigger = folder_ / (name + ".trigger");
    test::Job job(
        1, arguments("--train.steps=1000000 --log.tensorboard=" + at(name) + " --log.metrics=" + metrics.string()),
        "LD_PRELOAD=" + test::stall_library() + " TRIREME_STALL_PATH=" + at(name) +
            "/ TRIREME_STALL_RANK=0 TRIREME_STALL_TRIGGER=" + trigger.string() + (main ? " TRIREME_STALL_MAIN=1" : ""));
    const auto written = [&] { return std::filesystem::file_size(*std::filesystem::directory_iterator(at(name))); };
    const auto more_steps = [&](std::int64_t count) {
      const std::int64_t before = test::lines_in(metrics);
      return job.until([&] { return test::lines_in(metrics) >= before + count; });
    };
    ASSERT_TRUE(job.until([&] { return test::lines_in(metrics) >= 3 && written() > 1000; })) << job.err();
    test::write_text(trigger, "");
    ASSERT_TRUE(more_steps(100)) << job.err();
    const auto before = written();
    EXPECT_TRUE(more_steps(200)) << job.err();
    EXPECT_EQ(written() > before, main) << "the thread writes, unless it is stuck";
  }
}

#ifdef TRIREME_FAULT_LIBRARY
TEST_F(Pictures, AFullDiskIsToldOnceAndTheRunGoesOn) {
  const test::ProcessResult run = test::run_shell(
      test::mpirun_script() + " 1 env LD_PRELOAD=" TRIREME_FAULT_LIBRARY " TRIREME_FAULT_DIRECTORY=" + at("full") +
      " TRIREME_FAULT_KIND=full TRIREME_FAULT_AT=8 " + test::trireme_executable() + " " +
      arguments("--train.steps=60 --log.progress=plain --log.tensorboard=" + at("full") +
                " --log.metrics=" + at("full.jsonl")));
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(read_metrics("full").size(), 60U);
  EXPECT_THAT(run.err, HasSubstr("NOT DRAWN   log.tensorboard and log.visualdl get no more: writing '"));
  EXPECT_THAT(run.err, HasSubstr("No space left on device"));
  EXPECT_EQ(run.err.find("NOT DRAWN"), run.err.rfind("NOT DRAWN")) << run.err;
}
#endif

TEST_F(Pictures, SamplesMayBeLeftOut) {
  train({1, 1, 1}, 4, "none", drawn("none") + "--log.samples=0");
  EXPECT_THAT(test::read_tensorboard(at("none.tb")).texts, IsEmpty());
  const test::ProcessResult refused = test::run_trireme(arguments("--log.prompt=\xff"));
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("log.prompt"));
}

}  // namespace
}  // namespace trireme
