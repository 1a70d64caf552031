// Recognisers of text lines through the executable: the same run on any layout, restarted, and read with.
#include <gtest/gtest.h>

#include <filesystem>

#include "io/image.h"
#include "tests/app/training_support.h"
#include "tests/support/event_files.h"

namespace trireme {
namespace {

using test::Layout;
using test::mpirun;
using test::ProcessResult;

/// A stroke for each character, at a height that tells which: lines that can be read without fonts.
Image picture_of(const std::string& text) {
  Image image{.width = 12 * static_cast<int>(text.size()) + 8, .height = 32, .channels = 1};
  image.pixels.assign(static_cast<std::size_t>(image.width) * 32, 230);
  for (std::size_t i = 0; i < text.size(); ++i)
    for (int y = 0; y < 6; ++y)
      for (int x = 0; x < 8; ++x)
        image.pixels[static_cast<std::size_t>((4 + 6 * (text[i] - 'a') + y) * image.width) + 6 + 12 * i +
                     static_cast<std::size_t>(x)] = 20;
  return image;
}

class LineTraining : public test::TrainingTest {
 protected:
  static void SetUpTestSuite() {
    shared = std::make_unique<test::TemporaryFolder>();
    std::mt19937 random(1);
    std::string list;
    for (int i = 0; i < 96; ++i) {
      std::string text;
      for (unsigned letters = 2 + random() % 5; letters > 0; --letters) text += static_cast<char>('a' + random() % 4);
      const std::string name = std::to_string(i) + ".png";
      const auto bytes = encode_png(picture_of(text));
      test::write_text(*shared / name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      list += name + "\t" + text + "\n";
    }
    test::write_text(*shared / "list.txt", list);
    const ProcessResult packed =
        test::run_trireme("pack ocr --from=images --validation-share=0.2 --input=" + (*shared / "list.txt").string() +
                          " --output=" + (*shared / "train.h5").string() +
                          " --validation-output=" + (*shared / "validation.h5").string());
    ASSERT_EQ(packed.status, 0) << packed.err;
    test::write_text(*shared / "run.ini", "data.train=" + (*shared / "train.h5").string() + R"(
[model]
arch = crnn
channels = 4
layers = 1
hidden = 12
heads = 2
[train]
global_batch = 8
micro_batch = 2
seed = 3
device = cpu
[optimizer]
learning_rate = 0.01
warmup_steps = 5
decay = constant
weight_decay = 0
[log]
progress = none
)");
  }
  static void TearDownTestSuite() { shared.reset(); }
  static std::string validation() { return " --data.validation=" + (*shared / "validation.h5").string(); }
};

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
    const Image drawn = picture_of(label);
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

  const ProcessResult eval =
      test::run_trireme("eval --train.global_batch=8 --train.micro_batch=4" + validation() + checkpoints("reads"));
  EXPECT_EQ(eval.status, 0) << eval.err;
  EXPECT_NE(eval.out.find("character_error"), std::string::npos) << eval.out;
  EXPECT_NE(eval.out.find("exact_lines"), std::string::npos) << eval.out;

  const auto png = encode_png(picture_of("dabca"));
  const auto file = folder_ / "line.png";
  test::write_text(file, {reinterpret_cast<const char*>(png.data()), png.size()});
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
  expect_refused(mpirun(1, arguments("--train.steps=1 --model.height=48")), "model.height");
  expect_refused(mpirun(1, arguments("--train.steps=1 --model.vocabulary=9")), "model.vocabulary");
  expect_refused(mpirun(1, arguments("--train.steps=1 --model.arch=gpt")), "train.h5");
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
