// What knowledge masking takes out, counted over many samples.
#include "io/knowledge_mask.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <set>

#include "io/dataset.h"
#include "io/segmenter.h"
#include "io/wordpiece_tokenizer.h"

namespace trireme {
namespace {

constexpr int vocabulary = 1000;
constexpr int samples = 4000;

/// A sample of units of known sizes and levels: [CLS], characters, words of two, entities of three, one [SEP] amid.
struct Sample {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> units;
  std::vector<int> unit_of;  ///< -1: a special token

  void add(int size, UnitLevel level) {
    for (int i = 0; i < size; ++i) {
      const unsigned begins = i == 0 ? TokenUnit::begins : 0U;
      add(100 + static_cast<int>(tokens.size()), begins | static_cast<unsigned>(level) << TokenUnit::level_shift,
          count);
    }
    ++count;
  }
  void add(int token, unsigned unit, int number) {
    tokens.push_back(token);
    units.push_back(static_cast<std::uint8_t>(unit));
    unit_of.push_back(number);
  }
  int count = 0;
};

Sample make_sample() {
  Sample sample;
  sample.add(WordpieceTokenizer::classify, 0, -1);
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 4; ++j) sample.add(1, UnitLevel::character);
    for (int j = 0; j < 3; ++j) sample.add(2, UnitLevel::word);
    sample.add(3, UnitLevel::entity);
    if (i == 4) sample.add(WordpieceTokenizer::separate, 0, -1);
  }
  return sample;
}

struct Statistics {
  std::int64_t masked = 0, candidates = 0;
  std::map<int, std::int64_t> by_level;
  std::array<std::int64_t, 3> treated{};  ///< [MASK], another token, the same
  std::int64_t broken = 0;                ///< units that were masked in part
  std::int64_t treated_apart = 0;         ///< units whose tokens were not treated alike
};

Statistics count(const MaskOptions& options) {
  const Sample before = make_sample();
  Statistics result;
  for (int number = 0; number < samples; ++number) {
    Sample after = before;
    const auto masked = mask_units(after.tokens, after.units, options, number);
    std::map<int, std::set<int>> taken, treatment;
    std::set<std::int32_t> positions;
    for (const Masked& one : masked) {
      const auto at = static_cast<std::size_t>(one.position);
      EXPECT_EQ(one.token, before.tokens[at]);
      EXPECT_GE(before.unit_of[at], 0) << "a special token";
      const std::int32_t now = after.tokens[at];
      EXPECT_TRUE(now == WordpieceTokenizer::mask || now >= WordpieceTokenizer::specials);
      EXPECT_LT(now, vocabulary);
      const std::size_t how = now == WordpieceTokenizer::mask ? 0U : now == one.token ? 2U : 1U;
      ++result.treated[how];
      ++result.by_level[one.level];
      taken[before.unit_of[at]].insert(one.position);
      treatment[before.unit_of[at]].insert(how == 0 ? 0 : how == 1 ? 1 : 2);
      positions.insert(one.position);
    }
    EXPECT_EQ(positions.size(), masked.size());
    for (std::size_t i = 0; i < before.tokens.size(); ++i) {
      result.candidates += before.unit_of[i] >= 0 ? 1 : 0;
      if (positions.contains(static_cast<std::int32_t>(i))) continue;
      EXPECT_EQ(after.tokens[i], before.tokens[i]);
    }
    for (const auto& [unit, members] : taken) {
      const auto size = std::count(before.unit_of.begin(), before.unit_of.end(), unit);
      result.broken += static_cast<std::int64_t>(members.size()) == size ? 0 : 1;
      result.treated_apart += treatment[unit].size() == 1 ? 0 : 1;
    }
    EXPECT_LE(static_cast<int>(masked.size()), most_masked(options.share, static_cast<int>(before.tokens.size())));
    result.masked += static_cast<std::int64_t>(masked.size());
  }
  return result;
}

MaskOptions only(double character, double word, double entity) {
  return {.character = character, .word = word, .entity = entity, .vocabulary = vocabulary, .seed = 7};
}

void expect_shares(const Statistics& found) {
  const auto masked = static_cast<double>(found.masked);
  EXPECT_NEAR(masked / static_cast<double>(found.candidates), 0.15, 0.003);
  EXPECT_NEAR(static_cast<double>(found.treated[0]) / masked, 0.8, 0.01);
  EXPECT_NEAR(static_cast<double>(found.treated[1]) / masked, 0.1, 0.01);
  EXPECT_NEAR(static_cast<double>(found.treated[2]) / masked, 0.1, 0.01);
}

TEST(KnowledgeMask, CharactersAreTakenOneByOne) {
  const Statistics found = count(only(1, 0, 0));
  expect_shares(found);
  EXPECT_EQ(found.by_level.size(), 1U);
  EXPECT_GT(found.broken, samples) << "of words, single characters";
}

TEST(KnowledgeMask, WordsAndEntitiesAreTakenWholeAndTreatedAlike) {
  const Statistics found = count(only(0, 1, 0));
  expect_shares(found);
  EXPECT_EQ(found.broken, 0);
  EXPECT_LT(found.treated_apart, samples / 100) << "only where a random token happens to be the same";
  // Of 13 tokens 4, 6 and 3; the larger a unit, the more often it does not fit in at the end.
  const auto masked = static_cast<double>(found.masked);
  EXPECT_NEAR(static_cast<double>(found.by_level.at(0)) / masked, 4.0 / 13, 0.06);
  EXPECT_NEAR(static_cast<double>(found.by_level.at(1)) / masked, 6.0 / 13, 0.03);
  EXPECT_NEAR(static_cast<double>(found.by_level.at(2)) / masked, 3.0 / 13, 0.06);
}

TEST(KnowledgeMask, EntitiesComeFirstWhereTheyAreWanted) {
  const Statistics found = count(only(0, 0, 1));
  expect_shares(found);
  EXPECT_EQ(found.broken, 0);
  // 15.6 tokens, rounded: five entities, and what is left for others is less than one of them.
  EXPECT_NEAR(static_cast<double>(found.by_level.at(2)) / samples, 15, 1e-9);
}

TEST(KnowledgeMask, LevelsAreMixedAsAsked) {
  const MaskOptions mixed = only(1, 0, 3);
  expect_shares(count(mixed));
  const auto entities = static_cast<double>(count(mixed).by_level.at(2)) / samples;
  EXPECT_NEAR(entities, 0.75 * 15, 0.3);
}

TEST(KnowledgeMask, DependsOnSeedAndSampleAlone) {
  const Sample before = make_sample();
  const auto masked_tokens = [&](const MaskOptions& options, std::int64_t number) {
    Sample sample = before;
    mask_units(sample.tokens, sample.units, options, number);
    return sample.tokens;
  };
  const MaskOptions options = only(1, 1, 1);
  EXPECT_EQ(masked_tokens(options, 5), masked_tokens(options, 5));
  EXPECT_NE(masked_tokens(options, 5), masked_tokens(options, 6));
  MaskOptions other = options;
  other.seed = 8;
  EXPECT_NE(masked_tokens(options, 5), masked_tokens(other, 5));
}

TEST(KnowledgeMask, OfAFewTokensOneIsTaken) {
  std::vector<std::int32_t> tokens = {WordpieceTokenizer::classify, 50, 51, WordpieceTokenizer::separate};
  const std::vector<std::uint8_t> units = {0, TokenUnit::begins, TokenUnit::begins, 0};
  EXPECT_EQ(mask_units(tokens, units, only(1, 1, 1), 0).size(), 1U);
}

}  // namespace
}  // namespace trireme
