// Samples of pre-training and fine-tuning, straight and through the loader.
#include "io/ernie_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>

#include "io/labelled_source.h"
#include "io/loader.h"
#include "io/pack_labels.h"
#include "io/pack_text.h"
#include "io/wordpiece_tokenizer.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using Values = std::vector<std::int32_t>;
using W = WordpieceTokenizer;

constexpr int context = 20;

class ErnieSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("ernie-{}-{}", test->name(), ::getpid());
    std::filesystem::create_directories(folder_);
    std::string text;
    for (int i = 0; i < 60; ++i) text += i % 7 == 3 ? "宇宙洪荒。\n日月盈昃\n%\n" : "天地玄黄！辰宿列张。寒来暑往";
    write("text.txt", text);
    write("dict.txt", "天地 9 n\n宇宙洪荒 9 nz\n玄黄 9 n\n");
    pack_text({.inputs = {folder_ / "text.txt"},
               .output = folder_ / "text.h5",
               .tokenizer = "wordpiece",
               .vocabulary = 60,
               .dictionary = folder_ / "dict.txt"});
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, std::string_view text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::shared_ptr<TokenDataset> open(const std::string& name) {
    return std::make_shared<TokenDataset>(std::vector{folder_ / name});
  }
  std::shared_ptr<ErnieSource> source(const SourceOptions& how, bool order = true) {
    return std::make_shared<ErnieSource>(open("text.h5"),
                                         ErnieSourceOptions{.context = context, .sentence_order = order}, how);
  }
  /// All fields of one sample.
  static std::vector<Values> read(Source& source, std::int64_t batch, std::int64_t index) {
    std::vector<Values> values;
    for (const Field& field : source.fields(batch)) values.emplace_back(static_cast<std::size_t>(field.elements()));
    std::vector<std::byte*> places;
    for (Values& field : values) places.push_back(reinterpret_cast<std::byte*>(field.data()));
    source.read(batch, index, places);
    return values;
  }
  /// The tokens as they were before they were masked.
  static Values unmasked(const std::vector<Values>& sample) {
    Values tokens = sample[0];
    for (std::size_t i = 0; i < sample[3].size(); ++i)
      if (sample[3][i] >= 0) tokens[static_cast<std::size_t>(sample[3][i])] = sample[4][i];
    return tokens;
  }
  template <typename Action>
  static std::string refusal(const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input) << error.what();
      return error.what();
    }
    return "";
  }

  std::filesystem::path folder_;
};

TEST_F(ErnieSourceTest, SamplesAreTheTextInPartsWithEveryTokenOnce) {
  const auto data = open("text.h5");
  Values all(static_cast<std::size_t>(data->tokens()));
  data->read(0, all);
  const auto samples = source({.global_batch = 4, .training = false});
  Values found;
  int pairs = 0, swapped = 0;
  for (std::int64_t i = 0; i < samples->samples(); ++i) {
    const auto sample = read(*samples, i / 4, i % 4);
    const Values tokens = unmasked(sample);
    const auto length = static_cast<std::size_t>(sample[2][0]);
    EXPECT_EQ(tokens[0], W::classify);
    EXPECT_EQ(tokens[length - 1], W::separate);
    EXPECT_THAT(Values(tokens.begin() + static_cast<std::ptrdiff_t>(length), tokens.end()), Each(W::pad));
    const auto second = static_cast<std::size_t>(std::ranges::find(sample[1], 1) - sample[1].begin());
    const bool pair = second < context;
    const Values first(tokens.begin() + 1, tokens.begin() + static_cast<std::ptrdiff_t>((pair ? second : length) - 1));
    const Values other = pair ? Values(tokens.begin() + static_cast<std::ptrdiff_t>(second),
                                       tokens.begin() + static_cast<std::ptrdiff_t>(length) - 1)
                              : Values{};
    EXPECT_EQ(sample[6][0] >= 0, pair);
    const bool turned = sample[6][0] == 1;
    for (const Values& part : turned ? std::vector{other, first} : std::vector{first, other})
      found.insert(found.end(), part.begin(), part.end());
    pairs += pair ? 1 : 0;
    swapped += turned ? 1 : 0;
  }
  EXPECT_EQ(found, all);
  EXPECT_GT(pairs, 20);
  EXPECT_GT(swapped, pairs / 4);
  EXPECT_LT(swapped, 3 * pairs / 4);
}

TEST_F(ErnieSourceTest, WithoutTheOrderNothingChangesPlaces) {
  const auto samples = source({.global_batch = 4, .training = false}, false);
  for (std::int64_t i = 0; i < samples->samples(); ++i) EXPECT_THAT(read(*samples, i / 4, i % 4)[6], ElementsAre(-1));
}

TEST_F(ErnieSourceTest, MasksAreNewInEveryPassAndTheSameForTheSameSeed) {
  const auto samples = source({.global_batch = 1, .seed = 3}, false);
  const auto again = source({.global_batch = 1, .seed = 3}, false);
  const auto other = source({.global_batch = 1, .seed = 4}, false);
  std::map<Values, std::vector<Values>> masked_by_text;
  int differs = 0;
  const std::int64_t count = samples->samples();
  for (std::int64_t place = 0; place < 3 * count; ++place) {
    const auto sample = read(*samples, place, 0);
    EXPECT_EQ(read(*again, place, 0), sample);
    differs += read(*other, place, 0) == sample ? 0 : 1;
    // Where it is parted is drawn too: the text is what is left without [CLS], [SEP] and [PAD].
    Values text = unmasked(sample);
    std::erase_if(text, [](std::int32_t token) { return token < W::specials && token != W::unknown; });
    masked_by_text[text].push_back(sample[0]);
  }
  EXPECT_EQ(differs, 3 * count);
  int same = 0;
  for (const auto& [text, passes] : masked_by_text) {
    EXPECT_GE(passes.size(), 3U);
    same += passes[0] == passes[1] && passes[1] == passes[2] ? 1 : 0;
  }
  EXPECT_LT(same, static_cast<int>(masked_by_text.size()) / 4);
}

TEST_F(ErnieSourceTest, EveryLayoutAndNumberOfThreadsGetsTheSameSamples) {
  constexpr int batch = 8;
  std::map<std::int64_t, std::vector<Values>> wanted;  // by the run's sample
  const auto straight = source({.global_batch = batch, .seed = 3});
  for (std::int64_t place = 0; place < 5 * batch; ++place)
    wanted[place] = read(*straight, place / batch, place % batch);
  for (const int ranks : {1, 2, 4}) {
    for (int rank = 0; rank < ranks; ++rank) {
      Loader loader(source({.global_batch = batch, .seed = 3}),
                    {.global_batch = batch, .data_rank = rank, .data_ranks = ranks, .workers = ranks});
      for (int step = 0; step < 5; ++step) {
        const Batch& part = loader.next();
        for (std::size_t field = 0; field < part.fields.size(); ++field) {
          const auto size = static_cast<std::size_t>(part.fields[field].elements());
          for (int i = 0; i < part.samples; ++i)
            EXPECT_THAT(part.values<std::int32_t>(field).subspan(static_cast<std::size_t>(i) * size, size),
                        ElementsAreArray(wanted[part.first_sample + i][field]));
        }
      }
    }
  }
}

TEST_F(ErnieSourceTest, WhatFillsUpAnEvaluationDoesNotCount) {
  const auto samples = source({.global_batch = 1000, .training = false});
  ASSERT_LT(samples->samples(), 1000);
  const auto last = read(*samples, 0, 999);
  for (const std::size_t field : {3U, 4U, 6U}) EXPECT_THAT(last[field], Each(-1));
}

TEST_F(ErnieSourceTest, RefusesDataWithoutWordsAndAContextWithoutRoom) {
  pack_text({.inputs = {folder_ / "text.txt"}, .output = folder_ / "plain.h5", .tokenizer = "characters"});
  EXPECT_THAT(refusal([&] { ErnieSource(open("plain.h5"), {.context = 9}, {}); }),
              AllOf(HasSubstr("plain.h5"), HasSubstr("wordpiece")));
  EXPECT_THAT(refusal([&] { ErnieSource(open("text.h5"), {.context = 3}, {}); }), HasSubstr("model.context=3"));
  EXPECT_THAT(refusal([&] { LabelledSource(open("text.h5"), 9, {}); }), HasSubstr("pack labels"));
}

class LabelsTest : public ErnieSourceTest {
 protected:
  PackLabelsOptions options(const std::string& name, const std::string& of = "texts") {
    PackLabelsOptions chosen;
    chosen.inputs = {folder_ / name};
    chosen.output = folder_ / "labels.h5";
    chosen.tokenizer_from = folder_ / "text.h5";
    chosen.of = of;
    return chosen;
  }
  std::string refused(std::string_view text, const std::string& of = "texts", const std::string& labels = "") {
    write("wrong.tsv", text);
    PackLabelsOptions chosen = options("wrong.tsv", of);
    chosen.labels = labels;
    return refusal([&] { pack_labels(chosen); });
  }
  Values encode(std::string_view text) { return Tokenizer::load(open("text.h5")->tokenizer())->encode(text); }
};

TEST_F(LabelsTest, TextsAndPairsOfThem) {
  write("a.tsv", "good\t天地玄黄\nbad\t日月\t盈昃\ngood\t寒来暑往寒来暑往寒来暑往寒来暑往寒来暑往\n");
  const PackLabelsResult packed = pack_labels(options("a.tsv"));
  EXPECT_THAT(packed.labels, ElementsAre(std::pair("bad", 1), std::pair("good", 2)));
  EXPECT_EQ(packed.texts, 3);
  EXPECT_EQ(packed.longest, 20);
  LabelledSource source(open("labels.h5"), 12, {.global_batch = 2, .training = false});
  EXPECT_EQ(source.samples(), 3);
  EXPECT_EQ(source.batches(), 2);
  const auto one = read(source, 0, 0), pair = read(source, 0, 1), cut = read(source, 1, 0), filler = read(source, 1, 1);
  const Values heaven = encode("天地玄黄"), sun = encode("日月"), full = encode("盈昃");
  EXPECT_THAT(one[0],
              ElementsAre(W::classify, heaven[0], heaven[1], heaven[2], heaven[3], W::separate, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(one[1], Each(0));
  EXPECT_THAT(one[2], ElementsAre(6));
  EXPECT_THAT(one[3], ElementsAre(0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1));
  EXPECT_THAT(one[4], ElementsAre(1));
  EXPECT_THAT(pair[0],
              ElementsAre(W::classify, sun[0], sun[1], W::separate, full[0], full[1], W::separate, 0, 0, 0, 0, 0));
  EXPECT_THAT(pair[1], ElementsAre(0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0));
  EXPECT_THAT(pair[4], ElementsAre(0));
  EXPECT_THAT(cut[2], ElementsAre(12)) << "too long: loses its end";
  EXPECT_EQ(cut[0].back(), W::separate);
  EXPECT_THAT(filler[4], ElementsAre(-1));
}

TEST_F(LabelsTest, TokensOfWhichTheFirstPieceHasTheLabel) {
  write("a.conll", "天\tB-X\n地\tI-X\nxyz O\n\n日\tO\n");
  const PackLabelsResult packed = pack_labels(options("a.conll", "tokens"));
  EXPECT_EQ(packed.texts, 2);
  LabelledSource source(open("labels.h5"), 9, {.global_batch = 2, .training = false});
  const auto sample = read(source, 0, 0);
  const std::size_t pieces = encode("xyz").size();  // letters that the text does not have
  EXPECT_EQ(static_cast<std::size_t>(sample[2][0]), 4 + pieces);
  Values labels = {-1, 0, 1, 2};  // B-X, I-X, O
  labels.resize(9, -1);
  EXPECT_EQ(sample[4], labels);
}

TEST_F(LabelsTest, ThoseOfTheTrainingAreThoseOfTheTest) {
  write("a.tsv", "good\t天\nbad\t地\n");
  pack_labels(options("a.tsv"));
  write("b.tsv", "good\t黄\n");
  PackLabelsOptions test = options("b.tsv");
  test.tokenizer_from = folder_ / "labels.h5";
  test.output = folder_ / "test.h5";
  EXPECT_THAT(pack_labels(test).labels, ElementsAre(std::pair("bad", 0), std::pair("good", 1)));
  EXPECT_EQ(open("test.h5")->tokenizer().model, open("labels.h5")->tokenizer().model);
  write("b.tsv", "ugly\t黄\n");
  EXPECT_THAT(refusal([&] { pack_labels(test); }), AllOf(HasSubstr("b.tsv:1"), HasSubstr("'ugly'"), HasSubstr("good")));
}

TEST_F(LabelsTest, RefusesWhatIsMissingOrUnknownNamingTheLine) {
  EXPECT_THAT(refused("a\t天\n地玄\n"), AllOf(HasSubstr("wrong.tsv:2"), HasSubstr("label is missing")));
  EXPECT_THAT(refused("a\t天\n\t地\n"), AllOf(HasSubstr(":2"), HasSubstr("label is missing")));
  EXPECT_THAT(refused("a\t天\nb\t\n"), AllOf(HasSubstr(":2"), HasSubstr("text is missing")));
  EXPECT_THAT(refused("a\t天\nb\t \n"), AllOf(HasSubstr(":2"), HasSubstr("white space")));
  EXPECT_THAT(refused("a\t天\nc\t地\n", "texts", "a,b"), AllOf(HasSubstr(":2"), HasSubstr("'c'"), HasSubstr("a, b")));
  EXPECT_THAT(refused("天\tO\n地\n", "tokens"), AllOf(HasSubstr(":2"), HasSubstr("label is missing")));
  EXPECT_THAT(refused("a\t\xB4\xB2\n"), HasSubstr("byte 2 "));
  EXPECT_THAT(refused(""), HasSubstr("no labels"));
  EXPECT_THAT(refused("a\t天\n", "texts", "a,,b"), HasSubstr("labels:"));
  PackLabelsOptions chosen = options("wrong.tsv");
  chosen.tokenizer_from = folder_ / "none.h5";
  EXPECT_THAT(refusal([&] { pack_labels(chosen); }), HasSubstr("none.h5"));
}

}  // namespace
}  // namespace trireme
