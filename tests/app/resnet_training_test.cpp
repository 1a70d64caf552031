// model.arch=resnet as real runs of the executable: layouts, restart, evaluation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <span>

#include "io/image.h"
#include "tests/app/image_support.h"
#include "tests/support/event_files.h"

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

TEST_F(ResnetTraining, LayerwiseStepsAreTheSameOnEveryLayout) {
  for (const std::string name : {"lars", "lamb"}) {
    const std::string more =
        "--optimizer.name=" + name + " --optimizer.learning_rate=" + (name == "lars" ? "5" : "0.01");
    const auto wanted = train({1, 1, 1}, 4, name + "_one", more);
    ASSERT_EQ(wanted.size(), 4U);
    expect_close(train({2, 1, 2}, 4, name + "_four", more), wanted);
  }
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

TEST_F(ResnetTraining, ImagesAreShownWithTheirClasses) {
  const auto folder = folder_ / "drawn";
  train({2, 1, 2}, 2, "run",
        "--data.validation=" + (*shared / "validation.h5").string() + " --log.visualdl=" + folder.string());
  const test::Told told = test::read_visualdl(folder);
  ASSERT_EQ(told.texts.size(), 4U);
  std::set<std::vector<std::uint8_t>> different;
  for (const auto& [tag, texts] : told.texts) {
    EXPECT_THAT(texts.at(2), testing::MatchesRegex("class:   .+\nguessed: .+%\\)"));
    const std::string& encoded = told.pictures.at(tag + "/picture").at(2);
    const Image picture = decode_image(std::as_bytes(std::span(encoded)), 1, tag);
    EXPECT_EQ(picture.width, picture.height);
    different.insert(picture.pixels);
  }
  EXPECT_EQ(different.size(), 4U);
}

TEST_F(ResnetTraining, PredictionsAreWhatEvaluationsCount) {
  const std::string validation = "--data.validation=" + (*shared / "validation.h5").string() + " ";
  const auto log = train({1, 1, 1}, 12, "run",
                         "--model.depth=10 --train.micro_batch=8 --data.crop=whole " + validation + checkpoints("run"));
  std::string list;
  int number = 0;
  for (const auto& pixels : test::make_images(13, 2)) {
    Image image{.width = test::image_size, .height = test::image_size, .channels = 1};
    for (const std::byte value : pixels) image.pixels.push_back(static_cast<std::uint8_t>(value));
    const auto png = encode_png(image);
    const auto file = folder_ / (std::to_string(number++) + ".png");
    test::write_text(file, {reinterpret_cast<const char*>(png.data()), png.size()});
    list += file.string() + "\n";
  }
  test::write_text(folder_ / "list.txt", list);
  const std::string input = "--input=" + (folder_ / "list.txt").string();
  const ProcessResult json = test::run_trireme("predict --json --top=3 " + input + checkpoints("run"));
  ASSERT_EQ(json.status, 0) << json.err;
  std::istringstream lines(json.out);
  double hits = 0, loss = 0;
  int i = 0;
  for (std::string line; std::getline(lines, line); ++i) {
    const auto object = nlohmann::json::parse(line);
    EXPECT_EQ(object["input"], (folder_ / (std::to_string(i) + ".png")).string());
    ASSERT_EQ(object["labels"].size(), 3U);
    const std::string& wanted = test::image_classes[static_cast<std::size_t>(i % 3)];
    hits += object["labels"][0]["label"] == wanted ? 1 : 0;
    for (const auto& choice : object["labels"])
      if (choice["label"] == wanted) loss -= std::log(choice["probability"].get<double>());
  }
  ASSERT_EQ(i, 13);
  EXPECT_NEAR(hits / 13, log.back()["validation_top1"], 1e-12);
  EXPECT_NEAR(loss / 13, log.back()["validation_loss"], 1e-4);

  // Bad input.
  const auto refused = [&](const std::string& image) {
    const ProcessResult run = test::run_trireme("predict " + image + checkpoints("run"));
    EXPECT_EQ(run.status, 2) << run.err;
    return run.err;
  };
  test::write_text(folder_ / "broken.jpg", "no picture");
  EXPECT_NE(refused((folder_ / "broken.jpg").string()).find("broken.jpg"), std::string::npos);
  EXPECT_NE(refused((folder_ / "none.png").string()).find("none.png"), std::string::npos);
}

TEST_F(ResnetTraining, ItLearns) {
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
  EXPECT_NE(refused("--parallel.tensor=2").find("parallel.tensor = 2: this model has no matrices that ranks share"),
            std::string::npos);
}

}  // namespace
}  // namespace trireme
