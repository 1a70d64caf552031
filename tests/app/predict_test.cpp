// trireme predict: labels of texts and spans in them, beside what eval counts. Images: resnet_training_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "tests/app/ernie_support.h"

namespace trireme {
namespace {

using test::mpirun;
using test::ProcessResult;
using test::run_trireme;
using test::write_text;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Predict = test::ErnieTraining;

TEST_F(Predict, PredictionsAreWhatEvaluationsCount) {
  train({1, 1, 1}, 5, "pretrained", checkpoints("pretrained"));
  const auto tune = [&](const std::string& data, const std::string& steps) {
    const ProcessResult tuned = mpirun(1, fine_tune(data + ".h5") + "--train.micro_batch=8 --train.steps=" + steps +
                                              " --data.validation=" + at(data + ".h5") + " --log.metrics=" +
                                              (folder_ / (data + ".jsonl")).string() + checkpoints(data));
    EXPECT_EQ(tuned.status, 0) << tuned.err;
    return read_metrics(data).back();
  };
  const auto predict = [&](const std::string& how) {
    const ProcessResult run = run_trireme("predict " + how);
    EXPECT_EQ(run.status, 0) << run.err;
    std::vector<nlohmann::json> objects;
    std::istringstream lines(run.out);
    for (std::string line; std::getline(lines, line);) objects.push_back(nlohmann::json::parse(line));
    return objects;
  };
  const auto lines_of = [](const std::string& file) {
    std::vector<std::string> lines;
    std::istringstream text(test::read_text(file));
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  };

  // Texts: too few steps to get all of them right.
  pack_labels("texts.tsv", "texts");
  const auto of_texts = tune("texts", "25");
  std::string inputs;
  std::vector<std::string> labels;
  for (const std::string& line : lines_of(at("texts.tsv"))) {
    labels.push_back(line.substr(0, line.find('\t')));
    inputs += line.substr(line.find('\t') + 1) + "\n";
  }
  write_text(folder_ / "texts.txt", inputs);
  const auto found = predict("--json --top=9 --input=" + (folder_ / "texts.txt").string() + checkpoints("texts"));
  ASSERT_EQ(found.size(), labels.size());
  double hits = 0, loss = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto& choices = found[i]["labels"];
    ASSERT_EQ(choices.size(), 2U) << "all there are";
    EXPECT_NEAR(choices[0]["probability"].get<double>() + choices[1]["probability"].get<double>(), 1, 1e-6);
    const std::size_t right = choices[0]["label"] == labels[i] ? 0 : 1;
    hits += right == 0 ? 1 : 0;
    loss -= std::log(choices[right]["probability"].get<double>());
  }
  const auto count = static_cast<double>(labels.size());
  EXPECT_EQ(hits / count, of_texts["validation_accuracy"].get<double>());
  EXPECT_NEAR(loss / count, of_texts["validation_loss"], 1e-4);

  // Spans.
  pack_labels("tokens.conll", "tokens");
  const auto of_tokens = tune("tokens", "30");
  std::string text;
  std::vector<std::vector<std::size_t>> wanted = {{}};
  for (const std::string& line : lines_of(at("tokens.conll"))) {
    if (line.empty()) {
      text += "\n";
      wanted.emplace_back();
      continue;
    }
    const std::string character = line.substr(0, line.find('\t'));
    const std::size_t place = (text.size() - std::min(text.size(), text.rfind('\n') + 1)) / character.size();
    if (line.ends_with("B-X")) wanted.back().push_back(place);
    text += character;
  }
  wanted.pop_back();
  write_text(folder_ / "tokens.txt", text);
  const auto spans = predict("--json --input=" + (folder_ / "tokens.txt").string() + checkpoints("tokens"));
  ASSERT_EQ(spans.size(), wanted.size());
  double right = 0, all = 0, there = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    there += static_cast<double>(wanted[i].size());
    for (const auto& span : spans[i]["spans"]) {
      all += 1;
      EXPECT_EQ(span["label"], "X");
      EXPECT_EQ(span["end"], span["begin"].get<std::size_t>() + 1) << "of one character each";
      EXPECT_EQ(span["text"], "天") << span;
      right += std::ranges::count(wanted[i], span["begin"].get<std::size_t>()) > 0 ? 1 : 0;
    }
  }
  EXPECT_GT(right, 0);
  EXPECT_NEAR(2 * right / (all + there), of_tokens["validation_span_f1"], 1e-12);
  EXPECT_NEAR(right / all, of_tokens["validation_span_precision"], 1e-12);
  EXPECT_NEAR(right / there, of_tokens["validation_span_recall"], 1e-12);

  // Plain lines; a pair of texts.
  const ProcessResult plain = run_trireme("predict 天地 --top=2 '地地\t玄,黄'" + checkpoints("texts"));
  EXPECT_EQ(plain.status, 0) << plain.err;
  EXPECT_THAT(plain.out, AllOf(StartsWith("天地\t"), HasSubstr("\tone\t0."), HasSubstr("\n地地\t玄,黄\tother\t0.")));
}

TEST_F(Predict, RefusesWhatItCannotRead) {
  train({1, 1, 1}, 1, "pretrained", checkpoints("pretrained"));
  pack_labels("texts.tsv", "texts");
  ASSERT_EQ(mpirun(1, fine_tune("texts.h5") + "--train.steps=1" + checkpoints("texts")).status, 0);
  const auto refused = [&](const std::string& arguments) {
    const ProcessResult run = run_trireme("predict " + arguments);
    EXPECT_EQ(run.status, 2) << run.err;
    EXPECT_EQ(std::ranges::count(run.err, '\n'), 1) << run.err;
    return run.err;
  };
  EXPECT_THAT(refused(checkpoints("texts")), HasSubstr("found no input"));
  EXPECT_THAT(refused("天" + checkpoints("nowhere")), AllOf(HasSubstr("predict"), HasSubstr("nowhere")));
  EXPECT_THAT(refused("天" + checkpoints("pretrained")), AllOf(HasSubstr("ernie"), HasSubstr("no labels")));
  EXPECT_THAT(refused("--input=" + (folder_ / "none.txt").string() + checkpoints("texts")), HasSubstr("none.txt"));
  write_text(folder_ / "gap.txt", "天\n\n地\n");
  EXPECT_THAT(refused("--input=" + (folder_ / "gap.txt").string() + checkpoints("texts")), HasSubstr("gap.txt:2"));
  write_text(folder_ / "bytes.txt", "\xCC\xEC\n");
  EXPECT_THAT(refused("--input=" + (folder_ / "bytes.txt").string() + checkpoints("texts")), HasSubstr("UTF-8"));
  EXPECT_THAT(refused("'天\t地\t玄'" + checkpoints("texts")), HasSubstr("more than two texts"));
  EXPECT_THAT(refused("--top=0 天" + checkpoints("texts")), HasSubstr("predict.top"));
}

}  // namespace
}  // namespace trireme
