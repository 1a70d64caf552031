// ERNIE by the built executable: the same run on any layout, stopped and restarted anywhere, and then fine-tuned.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <sstream>

#include "kernels/backend.h"
#include "tests/app/job.h"
#include "tests/app/training_support.h"

namespace trireme {
namespace {

using test::Layout;
using test::mpirun;
using test::ProcessResult;
using test::run_trireme;
using test::write_text;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ErnieTraining : public test::TrainingTest {
 protected:
  static std::string at(const std::string& name) { return (*shared / name).string(); }

  static void SetUpTestSuite() {
    shared = std::make_unique<test::TemporaryFolder>();
    write_text(at("text.txt"), test::learnable_text(12000));
    write_text(at("dict.txt"), "天地 9 n\n玄黄 9 ns\n宇宙洪 9 nt\n日月 9 n\n寒来 5 n\n秋收冬 7 nr\n");
    const ProcessResult packed = run_trireme(
        "pack text --tokenizer=wordpiece --vocabulary=100 --validation-share=0.1 --width=fold --dictionary=" +
        at("dict.txt") + " --input=" + at("text.txt") + " --output=" + at("train.h5") +
        " --validation-output=" + at("validation.h5"));
    ASSERT_EQ(packed.status, 0) << packed.err;
    EXPECT_THAT(packed.out, HasSubstr("entities"));
    write_text(at("run.ini"), "data.train=" + at("train.h5") + R"(
[model]
arch = ernie
layers = 2
hidden = 32
heads = 4
context = 24
dropout = 0.1
order_weight = 0.3
[train]
global_batch = 8
micro_batch = 1
seed = 3
device = cpu
[optimizer]
learning_rate = 0.003
warmup_steps = 5
decay = constant
[log]
progress = none
)");
    // What a text begins with is its label; of tokens, whether they are 天.
    std::string texts, tokens;
    const std::string characters[] = {"天", "地", "玄", "黄"};
    for (int i = 0; i < 200; ++i) {
      texts += (i % 3 == 0 ? "one\t" : "other\t") + characters[i % 3 == 0 ? 0 : 1 + i % 2] + characters[i / 3 % 4] +
               characters[i / 7 % 4] + "\n";
      for (int t = 0; t < 5; ++t) {
        const int number = (i * 5 + t) / (t + 1) % 4;
        tokens += characters[number] + (number == 0 ? "\tB-X\n" : "\tO\n");
      }
      tokens += "\n";
    }
    write_text(at("texts.tsv"), texts);
    write_text(at("tokens.conll"), tokens);
  }

  static void pack_labels(const std::string& from, const std::string& of) {
    const ProcessResult packed = run_trireme("pack labels --of=" + of + " --input=" + at(from) + " --output=" + at(of) +
                                             ".h5 --tokenizer-from=" + at("train.h5"));
    ASSERT_EQ(packed.status, 0) << packed.err;
  }
  std::string fine_tune(const std::string& data) const {
    return arguments("--data.train=" + at(data) + " --train.init=" + (folder_ / "pretrained").string() + " ");
  }
};

/// Pre-training and fine-tuning on a GPU.
class CudaErnieTraining : public ErnieTraining {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  }
  /// Devices add in another order.
  static void expect_same_run(const std::vector<nlohmann::json>& found, const std::vector<nlohmann::json>& wanted) {
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i)
      for (const auto& [key, value] : wanted[i].items())
        if (key == "loss" || key == "grad_norm" || key.starts_with("validation_"))
          EXPECT_NEAR(found[i].at(key), value, 1e-3 * std::abs(value.get<double>())) << key << ", step " << i + 1;
  }
};

TEST_F(CudaErnieTraining, PretrainingAndFineTuningAreTheRunsOfTheCpu) {
  const auto run = [&](const std::string& device, const std::string& name, const std::string& more) {
    return train({1, 1, 1}, 2, name + device,
                 "--train.device=" + device + " --train.micro_batch=4 " + more + checkpoints(name + device));
  };
  const auto validate = [](const std::string& data) { return "--data.validation=" + at(data) + " "; };
  expect_same_run(run("cuda", "pretrained", ""), run("cpu", "pretrained", ""));
  for (const std::string of : {"texts", "tokens"}) {
    SCOPED_TRACE(of);
    pack_labels(of == "texts" ? "texts.tsv" : "tokens.conll", of);
    const std::string tune = "--data.train=" + at(of + ".h5") +
                             " --train.init=" + (folder_ / "pretrainedcpu").string() + " " + validate(of + ".h5");
    expect_same_run(run("cuda", of, tune), run("cpu", of, tune));
  }
}

TEST_F(ErnieTraining, LongEveryLayoutIsTheSameRun) {
  const auto wanted = train({1, 1, 1}, 15, "one");
  ASSERT_EQ(wanted.size(), 15U);
  EXPECT_LT(wanted.back()["loss"], wanted.front()["loss"]) << "it learns";
  for (const Layout layout :
       {Layout{2, 1, 1}, Layout{1, 2, 1}, Layout{1, 1, 2}, Layout{2, 2, 1}, Layout{1, 2, 2}, Layout{2, 2, 2}}) {
    SCOPED_TRACE(layout.name());
    expect_close(train(layout, 15, layout.name(), layout.pipeline > 1 ? "--data.workers=2" : ""), wanted);
  }
}

TEST_F(ErnieTraining, EveryAxisIsTheSameRunAndRestartsAreBitIdentical) {
  const Layout layout{1, 2, 2};
  const auto wanted = train(layout, 12, "at_once");
  expect_close(wanted, train({2, 1, 1}, 12, "data", "--data.workers=2"));
  train(layout, 6, "halves", checkpoints("halves"));
  expect_identical(train(layout, 12, "halves", checkpoints("halves")), wanted);
}

TEST_F(ErnieTraining, EvaluationsTellAccuracyByLevelAndAreTheSameOnAnyLayout) {
  train({1, 1, 1}, 6, "run", checkpoints("run") + " --model.pre_norm=true");
  const std::string eval = "eval --data.validation=" + at("validation.h5") +
                           " --train.device=cpu --train.global_batch=8 --train.micro_batch=2" + checkpoints("run");
  const ProcessResult one = mpirun(1, eval);
  ASSERT_EQ(one.status, 0) << one.err;
  for (const char* name :
       {"nats a masked token", "character_accuracy", "word_accuracy", "entity_accuracy", "order_acc"})
    EXPECT_THAT(one.out, HasSubstr(name));
  const ProcessResult two = mpirun(2, eval + " --parallel.tensor=2");
  EXPECT_EQ(two.status, 0) << two.err;
  const auto accuracies = [](const std::string& text) { return text.substr(text.find("character_accuracy")); };
  EXPECT_EQ(accuracies(two.out), accuracies(one.out));
}

TEST_F(ErnieTraining, ANewHeadBeginsWithThePretrainedModel) {
  train({1, 1, 1}, 5, "pretrained", checkpoints("pretrained"));
  pack_labels("texts.tsv", "texts");
  const ProcessResult tuned =
      mpirun(2, fine_tune("texts.h5") + "--train.steps=60 --parallel.tensor=2 --log.progress=plain --data.validation=" +
                    at("texts.h5") + " --log.metrics=" + (folder_ / "tuned.jsonl").string() + checkpoints("tuned"));
  ASSERT_EQ(tuned.status, 0) << tuned.err;
  EXPECT_THAT(tuned.err, AllOf(HasSubstr("new       classifier.bias, classifier.weight"),
                               HasSubstr("left over head.bias, head.norm.bias"), HasSubstr("order.weight")));
  const auto lines = read_metrics("tuned");
  EXPECT_EQ(lines.back()["validation_accuracy"], 1.0) << "it can tell texts that begin differently apart";

  // What was there before is what the checkpoint held: with no step to speak of, the encoder is the same.
  const ProcessResult still = mpirun(1, fine_tune("texts.h5") +
                                            "--train.steps=1 --optimizer.learning_rate=0 "
                                            "--optimizer.min_learning_rate=0" +
                                            checkpoints("still"));
  ASSERT_EQ(still.status, 0) << still.err;
  auto before = test::contents_of(folder_ / "pretrained" / "step-00000005");
  auto after = test::contents_of(folder_ / "still" / "step-00000001");
  int compared = 0;
  for (const auto& [path, values] : after) {
    if (!path.starts_with("parameters/") || path.starts_with("parameters/classifier")) continue;
    EXPECT_EQ(values, before.at(path)) << path;
    ++compared;
  }
  EXPECT_GT(compared, 30);
  // A run of its own that is there already goes on, whatever train.init says.
  const ProcessResult on =
      mpirun(1, fine_tune("texts.h5") + "--train.steps=2 --log.progress=plain" + checkpoints("still"));
  EXPECT_THAT(on.err, AllOf(HasSubstr("resumed"), Not(HasSubstr("init  "))));
}

TEST_F(ErnieTraining, TokensAreLabelled) {
  train({1, 1, 1}, 5, "pretrained", checkpoints("pretrained"));
  pack_labels("tokens.conll", "tokens");
  const ProcessResult tuned =
      mpirun(2, fine_tune("tokens.h5") + "--train.steps=80 --parallel.pipeline=2 --data.validation=" + at("tokens.h5") +
                    " --log.metrics=" + (folder_ / "tuned.jsonl").string());
  ASSERT_EQ(tuned.status, 0) << tuned.err;
  const auto last = read_metrics("tuned").back();
  EXPECT_GT(last["validation_accuracy"], 0.95) << last;
  EXPECT_GT(last["validation_span_f1"], 0.9) << last;
}

/// Documents of two sentences that tell by their characters which is the first; a sample is one document.
TEST_F(ErnieTraining, TheOrderOfSentencesIsLearnt) {
  std::mt19937 random(2);
  const std::string parts[2][3] = {{"天", "地", "玄"}, {"日", "月", "盈"}};
  std::string text;
  for (int document = 0; document < 400; ++document) {
    for (const auto& characters : parts) {
      for (int i = 0; i < 9; ++i) text += characters[random() % 3];
      text += "。";
    }
    text += "\n%\n";
  }
  write_text(folder_ / "order.txt", text);
  const std::string data = (folder_ / "order.h5").string();
  const ProcessResult packed =
      run_trireme("pack text --tokenizer=wordpiece --vocabulary=50 --input=" + (folder_ / "order.txt").string() +
                  " --output=" + data);
  ASSERT_EQ(packed.status, 0) << packed.err;
  // 20 tokens and the end of each document.
  const auto log = train({1, 1, 1}, 150, "order",
                         "--data.train=" + data + " --data.validation=" + data +
                             " --model.context=24 --model.dropout=0 --train.micro_batch=8 --train.validate_every=150");
  ASSERT_EQ(log.size(), 150U);
  EXPECT_GT(log.back()["validation_order_accuracy"], 0.98) << log.back();
}

TEST_F(ErnieTraining, PredictionsAreWhatEvaluationsCount) {
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
  const auto of_texts = tune("texts", "12");
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
  EXPECT_THAT(plain.out, AllOf(testing::StartsWith("天地\tone\t0."), HasSubstr("\n地地\t玄,黄\tother\t0.")));
}

TEST_F(ErnieTraining, PredictRefusesWhatItCannotRead) {
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

TEST_F(ErnieTraining, RefusesWhatDoesNotFit) {
  const auto refused = [&](const std::string& command) {
    const ProcessResult run = run_trireme(command);
    EXPECT_EQ(run.status, 2) << run.err;
    return run.err;
  };
  train({1, 1, 1}, 1, "pretrained", checkpoints("pretrained"));
  EXPECT_THAT(refused(fine_tune("train.h5") + "--model.hidden=64"),
              AllOf(HasSubstr("train.init"), HasSubstr("[32]"), HasSubstr("[64]")));
  EXPECT_THAT(refused(arguments("--train.init=" + (folder_ / "nowhere").string())),
              AllOf(HasSubstr("train.init"), HasSubstr("nowhere")));
  EXPECT_THAT(refused("sample" + checkpoints("pretrained")), AllOf(HasSubstr("ernie"), HasSubstr("writes text")));
  ASSERT_EQ(run_trireme("pack text --tokenizer=wordpiece --vocabulary=12 --input=" + at("text.txt") +
                        " --output=" + at("few.h5"))
                .status,
            0);
  EXPECT_THAT(refused(fine_tune("few.h5")), AllOf(HasSubstr("train.init"), HasSubstr("tokenizer")));
  EXPECT_THAT(refused(arguments("--model.norm=rms")), AllOf(HasSubstr("model.norm"), HasSubstr("layer")));
  ASSERT_EQ(
      run_trireme("pack text --tokenizer=characters --input=" + at("text.txt") + " --output=" + at("c.h5")).status, 0);
  EXPECT_THAT(refused(arguments("--data.train=" + at("c.h5"))), AllOf(HasSubstr("characters"), HasSubstr("wordpiece")));
  ASSERT_EQ(run_trireme("train --model.layers=1 --model.hidden=8 --model.heads=1 --model.context=8 --train.device=cpu "
                        "--train.steps=1 --log.progress=none --data.train=" +
                        at("c.h5") + checkpoints("gpt"))
                .status,
            0);
  EXPECT_THAT(refused("predict 天" + checkpoints("gpt")), AllOf(HasSubstr("model.arch=gpt"), HasSubstr("no labels")));
  EXPECT_THAT(refused("pack text --tokenizer=bpe --width=fold --input=" + at("text.txt") + " --output=" + at("x.h5")),
              AllOf(HasSubstr("tokenizer"), HasSubstr("wordpiece")));
}

}  // namespace
}  // namespace trireme
