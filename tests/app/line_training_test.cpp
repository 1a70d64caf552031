// Recognisers of text lines through the executable: the same run on any layout, restarted, and read with.
#include <gtest/gtest.h>

#include <map>

#include "tests/app/line_support.h"
#include "tests/support/event_files.h"

namespace trireme {
namespace {

using test::Layout;
using test::mpirun;
using test::ProcessResult;

class LineTraining : public test::LineTrainingTest {};

TEST_F(LineTraining, LayoutsAgree) {
  const auto wanted = train({1, 1, 1}, 6, "one");
  ASSERT_EQ(wanted.size(), 6U);
  expect_close(train({2, 1, 2}, 6, "four"), wanted);
}

TEST_F(LineTraining, LongEveryLayoutIsTheSameRun) {
  for (const std::string arch : {"crnn", "svtr"}) {
    const std::string more = "--model.arch=" + arch + " --model.layers=2";
    const auto wanted = train({1, 1, 1}, 12, arch + "one", more);
    EXPECT_LT(wanted.back()["loss"], wanted.front()["loss"]) << "it learns";
    for (const Layout layout : {Layout{2, 1, 1}, Layout{4, 1, 1}, Layout{1, 1, 2}, Layout{1, 1, 4}, Layout{2, 1, 2}}) {
      SCOPED_TRACE(arch + " " + layout.name());
      expect_close(train(layout, 12, arch + layout.name(), more), wanted);
    }
    if (arch == "svtr") expect_close(train({1, 2, 1}, 12, "tensor", more), wanted);
  }
}

TEST_F(LineTraining, RestartOnTheSameLayoutIsBitIdentical) {
  for (const std::string arch : {"crnn", "svtr"}) {
    const std::string more = "--model.arch=" + arch;
    const Layout layout{2, 1, 1};
    const auto wanted = train(layout, 8, arch + "_at_once", more);
    train(layout, 4, arch + "_halves", more + checkpoints(arch + "_halves"));
    expect_identical(train(layout, 8, arch + "_halves", more + checkpoints(arch + "_halves")), wanted);
  }
}

/// What a run shows at a step: each line's picture, and under it what is written on it and what was read.
void expect_lines(const test::Told& told, std::int64_t step, int right) {
  ASSERT_EQ(told.texts.size(), 4U);
  for (const auto& [tag, texts] : told.texts) {
    const std::string text = texts.at(step);
    const std::string label = text.substr(text.find("label:   ") + 9, text.find('\n') - text.find("label:   ") - 9);
    const std::string encoded = told.pictures.at(tag + "/picture").at(step);
    const Image picture = decode_image(std::as_bytes(std::span(encoded)), 1, tag);
    const Image drawn = test::picture_of(label);
    ASSERT_EQ(picture.height, drawn.height);
    ASSERT_GE(picture.width, drawn.width);
    for (int y = 0; y < drawn.height; ++y)
      for (int x = 0; x < drawn.width; ++x)
        ASSERT_EQ(picture.pixels[static_cast<std::size_t>(y * picture.width + x)],
                  drawn.pixels[static_cast<std::size_t>(y * drawn.width + x)])
            << label << " at " << x << ", " << y;
    right -= text.ends_with("read as: " + label) ? 1 : 0;
  }
  EXPECT_LE(right, 0);
}

TEST_F(LineTraining, LinesAreShownOnEveryLayout) {
  for (const auto& [layout, arch] : {std::pair{Layout{1, 1, 2}, "crnn"}, std::pair{Layout{1, 2, 1}, "svtr"}}) {
    const std::string name = (folder_ / arch).string();
    train(layout, 2, arch, "--model.layers=2 --log.tensorboard=" + name + " --model.arch=" + arch + validation());
    expect_lines(test::read_tensorboard(name), 2, 0);
  }
}

TEST_F(LineTraining, LearnsToReadAndRecognizes) {
  const auto log = train(
      {1, 1, 1}, 160, "reads",
      "--train.micro_batch=8 --log.visualdl=" + (folder_ / "drawn").string() + validation() + checkpoints("reads"));
  expect_lines(test::read_visualdl(folder_ / "drawn"), 160, 3);
  ASSERT_EQ(log.size(), 160U);
  EXPECT_LT(log.back()["validation_character_error"], 0.05);

  // Whatever lines come together, each is read the same.
  std::map<std::string, double> losses;
  for (const std::string batch : {"8 --train.micro_batch=4", "1 --train.micro_batch=1", "5 --train.micro_batch=5"}) {
    const ProcessResult eval =
        test::run_trireme("eval --train.global_batch=" + batch + validation() + checkpoints("reads"));
    ASSERT_EQ(eval.status, 0) << eval.err;
    EXPECT_NE(eval.out.find("character_error"), std::string::npos) << eval.out;
    EXPECT_NE(eval.out.find("exact_lines"), std::string::npos) << eval.out;
    losses[batch] = std::stod(eval.out.substr(eval.out.find("loss ") + 5));
  }
  for (const auto& [batch, loss] : losses) EXPECT_NEAR(loss, losses.begin()->second, 1e-5 * loss + 2e-6) << batch;

  const auto file = folder_ / "line.png";
  test::write_picture(file, "dabca");
  for (const std::string how : {"", "--beam=8"}) {
    const ProcessResult read =
        test::run_trireme("recognize " + file.string() + " " + file.string() + " " + how + checkpoints("reads"));
    ASSERT_EQ(read.status, 0) << read.err;
    std::istringstream lines(read.out);
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count)
      EXPECT_TRUE(line.starts_with(file.string() + "\tdabca\t")) << line;
    EXPECT_EQ(count, 2);
  }
  const ProcessResult json = test::run_trireme("recognize --json " + file.string() + checkpoints("reads"));
  const auto object = nlohmann::json::parse(json.out);
  EXPECT_EQ(object["text"], "dabca");
  EXPECT_EQ(object["path"], file.string());
  EXPECT_GT(object["confidence"], 0.5);
  EXPECT_LE(object["confidence"], 1.0);
}

TEST_F(LineTraining, WrongInputIsRefused) {
  train({1, 1, 1}, 2, "two", checkpoints("two"));
  const auto expect_refused = [](const ProcessResult& result, const std::string& word) {
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find(word), std::string::npos) << result.err;
  };
  test::write_text(folder_ / "broken.jpg", "no picture");
  expect_refused(test::run_trireme("recognize " + (folder_ / "broken.jpg").string() + checkpoints("two")),
                 "broken.jpg");
  expect_refused(test::run_trireme("recognize " + (folder_ / "none.png").string() + checkpoints("two")), "none.png");
  expect_refused(test::run_trireme("recognize" + checkpoints("two")), "found no image");
  expect_refused(test::run_trireme("recognize x.png --checkpoint.directory=" + (folder_ / "empty").string()),
                 "checkpoint.directory");
  expect_refused(test::run_trireme(arguments("--train.steps=1 --model.height=48")), "model.height");
  expect_refused(test::run_trireme(arguments("--train.steps=1 --model.vocabulary=9")), "model.vocabulary");
  expect_refused(test::run_trireme(arguments("--train.steps=1 --model.arch=gpt")), "train.h5");
  expect_refused(mpirun(2, arguments("--train.steps=1 --parallel.tensor=2")), "parallel.tensor");
}

TEST_F(LineTraining, InspectTellsOfLines) {
  const ProcessResult told = test::run_trireme("inspect " + (*shared / "train.h5").string());
  EXPECT_EQ(told.status, 0) << told.err;
  EXPECT_NE(told.out.find("trireme-lines"), std::string::npos) << told.out;
  EXPECT_NE(told.out.find("32 high"), std::string::npos) << told.out;
}

}  // namespace
}  // namespace trireme
