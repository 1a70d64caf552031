// ERNIE by the built executable: the same run on any layout, stopped and restarted anywhere, and then fine-tuned.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/app/ernie_support.h"
#include "tests/app/job.h"
#include "tests/app/training_support.h"
#include "tests/support/event_files.h"

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

using ErnieTraining = test::ErnieTraining;

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
  EXPECT_THAT(tuned.err, AllOf(HasSubstr("new       classifier.bias, classifier.norm.bias"),
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
  EXPECT_THAT(tuned.err, Not(HasSubstr("otherwise")));
  const ProcessResult other =
      mpirun(1, fine_tune("texts.h5") + "--train.steps=1 --model.heads=2 --log.progress=plain" + checkpoints("other"));
  EXPECT_THAT(other.err, HasSubstr("otherwise model.heads=2, not 4\n"));
}

TEST_F(ErnieTraining, TokensAreLabelled) {
  train({1, 1, 1}, 5, "pretrained", checkpoints("pretrained"));
  pack_labels("tokens.conll", "tokens");
  const ProcessResult tuned =
      mpirun(2, fine_tune("tokens.h5") + "--train.steps=80 --parallel.pipeline=2 --data.validation=" + at("tokens.h5") +
                    " --log.metrics=" + (folder_ / "tuned.jsonl").string() + checkpoints("tuned"));
  ASSERT_EQ(tuned.status, 0) << tuned.err;
  const auto last = read_metrics("tuned").back();
  EXPECT_GT(last["validation_accuracy"], 0.95) << last;
  EXPECT_GT(last["validation_span_f1"], 0.9) << last;

  // 200 texts by batches that do not divide them, on any layout.
  const auto evaluate = [&](int ranks, const std::string& how) {
    const ProcessResult run =
        mpirun(ranks, "eval --train.device=cpu --train.micro_batch=3 --data.validation=" + at("tokens.h5") +
                          checkpoints("tuned") + how);
    EXPECT_EQ(run.status, 0) << run.err;
    return run.out.substr(run.out.find("accuracy"));
  };
  const std::string wanted = evaluate(1, "--train.global_batch=9");
  EXPECT_THAT(wanted, HasSubstr("span_f1"));
  EXPECT_EQ(evaluate(2, "--train.global_batch=18"), wanted);
  EXPECT_EQ(evaluate(2, "--train.global_batch=12 --parallel.tensor=2"), wanted);
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

TEST_F(ErnieTraining, MaskedTextsAndLabelsAreShown) {
  const auto part = [](const std::string& text, const std::string& name) {
    const std::size_t first = text.find(name) + name.size();
    return text.substr(first, text.find('\n', first) - first);
  };
  train({1, 2, 2}, 2, "pretrained",
        checkpoints("pretrained") + "--data.validation=" + at("validation.h5") +
            " --log.visualdl=" + (folder_ / "masks").string());
  const test::Told masks = test::read_visualdl(folder_ / "masks");
  ASSERT_EQ(masks.texts.size(), 4U);
  bool hidden = false;
  for (const auto& [tag, texts] : masks.texts) {
    const std::string& text = texts.at(2);
    hidden = hidden || part(text, "given:   ").find("[MASK]") != std::string::npos;
    EXPECT_THAT(part(text, "text:    "), Not(HasSubstr("[MASK]")));
    EXPECT_NE(part(text, "guessed: "), part(text, "text:    ")) << "two steps do not teach to guess all of them";
  }
  EXPECT_TRUE(hidden);

  for (const auto& [file, of] : {std::pair{"texts.tsv", "texts"}, std::pair{"tokens.conll", "tokens"}}) {
    pack_labels(file, of);
    const ProcessResult tuned =
        mpirun(1, fine_tune(std::string(of) + ".h5") + "--train.steps=60 --data.validation=" + at(of) +
                      ".h5 --log.visualdl=" + (folder_ / of).string());
    ASSERT_EQ(tuned.status, 0) << tuned.err;
    for (const auto& [tag, texts] : test::read_visualdl(folder_ / of).texts) {
      const std::string& text = texts.at(60);
      EXPECT_THAT(part(text, "label:  "), ::testing::MatchesRegex("( (one|other|O|B-X))+"));
      EXPECT_EQ(part(text, "guessed:"), part(text, "label:  ")) << text;
    }
  }
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
