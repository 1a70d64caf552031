// ERNIE by the built executable: the same run on any layout, stopped and restarted anywhere, and then fine-tuned.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

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
  EXPECT_GT(last["validation_named_accuracy"], 0.9) << last;
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
  EXPECT_THAT(refused("pack text --tokenizer=bpe --width=fold --input=" + at("text.txt") + " --output=" + at("x.h5")),
              AllOf(HasSubstr("tokenizer"), HasSubstr("wordpiece")));
}

}  // namespace
}  // namespace trireme
