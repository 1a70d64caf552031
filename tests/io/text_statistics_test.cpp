#include "io/text_statistics.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "kernels/error.h"

namespace trireme {
namespace {

using Tokens = std::vector<std::int32_t>;

TEST(NGramCounts, EntropiesOfHandCountedText) {
  NGramCounts counts(5);
  counts.add(Tokens{1, 2, 1, 2, 1, 3});  // 1 three times, 2 twice, 3 once
  EXPECT_EQ(counts.tokens(), 6);
  EXPECT_EQ(counts.distinct_pairs(), 3U);
  EXPECT_NEAR(counts.unigram_entropy(), 0.5 * std::log(2.0) + std::log(3.0) / 3 + std::log(6.0) / 6, 1e-12);
  // After 1: twice 2, once 3. After 2: always 1. Weights 3/5 and 2/5.
  EXPECT_NEAR(counts.bigram_entropy(), 0.6 * (2.0 / 3 * std::log(1.5) + 1.0 / 3 * std::log(3.0)), 1e-12);
}

TEST(NGramCounts, PartsAreOneRun) {
  NGramCounts whole(5), parts(5);
  whole.add(Tokens{1, 2, 1, 2, 1, 3});
  for (const std::int32_t token : {1, 2, 1, 2, 1, 3}) parts.add(Tokens{token});
  EXPECT_EQ(whole.bigram_entropy(), parts.bigram_entropy());
  EXPECT_EQ(whole.distinct_pairs(), parts.distinct_pairs());
}

TEST(NGramCounts, ExtremesOfEntropy) {
  NGramCounts none(3), constant(3), cycle(3);
  EXPECT_EQ(none.unigram_entropy(), 0);
  EXPECT_EQ(none.bigram_entropy(), 0);
  constant.add(Tokens(10, 2));
  EXPECT_NEAR(constant.unigram_entropy(), 0, 1e-12);
  cycle.add(Tokens{0, 1, 2, 0, 1, 2});
  EXPECT_NEAR(cycle.unigram_entropy(), std::log(3.0), 1e-12);
  EXPECT_NEAR(cycle.bigram_entropy(), 0, 1e-12);
}

TEST(NGramCounts, WittenBellByHand) {
  NGramCounts counts(5);
  counts.add(Tokens{1, 2, 1, 2, 1, 3});  // N = 6, T = 3, V = 5
  EXPECT_NEAR(counts.unigram_probability(1), (3 + 0.6) / 9, 1e-12);
  EXPECT_NEAR(counts.unigram_probability(4), 0.6 / 9, 1e-12);
  EXPECT_NEAR(counts.bigram_probability(1, 2), (2 + 2 * (2 + 0.6) / 9) / 5, 1e-12);
  EXPECT_NEAR(counts.bigram_probability(1, 4), 2 * 0.6 / 9 / 5, 1e-12);
  EXPECT_NEAR(counts.bigram_probability(3, 1), 3.6 / 9, 1e-12) << "3 was never followed";
}

TEST(NGramCounts, ProbabilitiesSumToOne) {
  NGramCounts counts(7);
  counts.add(Tokens{1, 2, 3, 1, 1, 5, 2, 2, 3, 0, 1, 2});
  for (int before = 0; before < 7; ++before) {
    double unigram = 0, bigram = 0;
    for (int token = 0; token < 7; ++token) {
      unigram += counts.unigram_probability(token);
      bigram += counts.bigram_probability(before, token);
    }
    EXPECT_NEAR(unigram, 1, 1e-12);
    EXPECT_NEAR(bigram, 1, 1e-12);
  }
}

class TextStatisticsTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("statistics-{}-{}", test->name(), ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// The tokens, of which the last has to be 0, the end of text.
  TokenDataset dataset(const std::string& name, Tokens tokens, int vocabulary = 4) {
    TokenDatasetWriter writer(folder_ / name, {"characters", vocabulary, 0, ""});
    tokens.pop_back();
    writer.append_document(tokens);
    writer.commit();
    return TokenDataset({folder_ / name});
  }

  std::filesystem::path folder_;
};

TEST_F(TextStatisticsTest, BaselineByHand) {
  TokenDataset train = dataset("train.h5", {1, 2, 1, 2, 1, 0});  // N = 6, T = 3, V = 4
  TokenDataset validation = dataset("validation.h5", {2, 1, 3, 0});
  const NGramBaseline baseline = ngram_baseline(train, validation);
  EXPECT_EQ(baseline.train_tokens, 6);
  EXPECT_EQ(baseline.validation_tokens, 4);
  const double one = 3.75 / 9, three = 0.75 / 9, end = 1.75 / 9;
  EXPECT_NEAR(baseline.unigram, -(std::log(one) + std::log(three) + std::log(end)) / 3, 1e-12);
  // 2 is followed twice, by one kind; 1 three times, by two kinds; 3 never.
  const double bigram = std::log((2 + one) / 3) + std::log(2 * three / 5) + std::log(end);
  EXPECT_NEAR(baseline.bigram, -bigram / 3, 1e-12);
}

TEST_F(TextStatisticsTest, ReadsInBlocksAndStopsAtTheBound) {
  Tokens tokens(2'500'000);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = 1 + static_cast<std::int32_t>(i % 3);
  tokens.back() = 0;
  TokenDataset cycle = dataset("cycle.h5", tokens);
  const TextEntropy bounded = text_entropy(cycle, 2'400'000);
  EXPECT_EQ(bounded.tokens, 2'400'000);
  EXPECT_NEAR(bounded.unigram, std::log(3.0), 1e-12);
  EXPECT_NEAR(bounded.bigram, 0, 1e-12);
  EXPECT_EQ(text_entropy(cycle).tokens, 2'500'000);
  EXPECT_GT(text_entropy(cycle).bigram, 0);
}

TEST_F(TextStatisticsTest, RefusesOtherTokenizersAndTooShortSets) {
  TokenDataset train = dataset("train.h5", {1, 2, 0});
  TokenDataset other = dataset("other.h5", {1, 2, 0}, 5);
  TokenDataset tiny = dataset("tiny.h5", {0});
  EXPECT_THROW(ngram_baseline(train, other), Error);
  EXPECT_THROW(ngram_baseline(train, tiny), Error);
}

}  // namespace
}  // namespace trireme
