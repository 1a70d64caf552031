// Texts from logits, against all ways to write them.
#include "model/ctc_decode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "kernels/error.h"

namespace trireme {
namespace {

using Labels = std::vector<std::int32_t>;

std::vector<float> random_logits(int steps, int classes, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 2.0F);
  std::vector<float> logits(static_cast<std::size_t>(steps * classes));
  for (float& value : logits) value = normal(random);
  return logits;
}

/// Probability of every text: the sum over all paths that write it.
std::map<Labels, double> all_texts(const std::vector<float>& logits, int steps, int classes) {
  std::map<Labels, double> texts;
  std::vector<double> log_sums;
  for (int step = 0; step < steps; ++step) {
    double sum = 0;
    for (int c = 0; c < classes; ++c) sum += std::exp(logits[static_cast<std::size_t>(step * classes + c)]);
    log_sums.push_back(std::log(sum));
  }
  const int paths = static_cast<int>(std::pow(classes, steps));
  for (int path = 0; path < paths; ++path) {
    Labels text;
    int rest = path, before = 0;
    double probability = 0;
    for (int step = 0; step < steps; ++step, rest /= classes) {
      const int label = rest % classes;
      probability +=
          logits[static_cast<std::size_t>(step * classes + label)] - log_sums[static_cast<std::size_t>(step)];
      if (label != 0 && label != before) text.push_back(label);
      before = label;
    }
    texts[text] += std::exp(probability);
  }
  return texts;
}

std::vector<DecodedText> read_greedily(const Shape& shape, const std::vector<float>& logits, const Labels& steps) {
  static const auto backend = make_cpu_backend(1);
  const Tensor tensor = backend->allocate(shape, DType::f32);
  backend->upload(logits.data(), tensor);
  return decode_greedily(*backend, tensor, steps);
}

TEST(DecodeGreedily, DropsBlanksAndRepetitions) {
  const float no = 0.0F, yes = 5.0F;
  const std::vector<float> logits = {no,  yes, no,    // a
                                     no,  yes, no,    // a again
                                     yes, no,  no,    // blank
                                     no,  yes, no,    // another a
                                     no,  no,  yes};  // b
  const DecodedText text = read_greedily({1, 5, 3}, logits, {5}).front();
  EXPECT_EQ(text.labels, (Labels{1, 1, 2}));
  EXPECT_NEAR(text.confidence, std::exp(5.0) / (std::exp(5.0) + 2.0), 1e-6);
  EXPECT_TRUE(read_greedily({1, 1, 3}, {yes, no, no}, {1}).front().labels.empty());
}

TEST(DecodeGreedily, TakesTheStepsOfEachLineOfABatch) {
  const std::vector<float> logits = {0, 9, 0, 0, 0, 9, 0, 9, 0,   // a b a
                                     0, 0, 9, 9, 0, 0, 0, 0, 9};  // b blank b
  const auto texts = read_greedily({2, 3, 3}, logits, {2, 7});
  ASSERT_EQ(texts.size(), 2U);
  EXPECT_EQ(texts[0].labels, (Labels{1, 2})) << "the third step fills up the width";
  EXPECT_EQ(texts[1].labels, (Labels{2, 2})) << "there are no more than three";
  EXPECT_EQ(texts[0].confidence, texts[1].confidence);
  EXPECT_THROW(read_greedily({2, 3, 3}, logits, {3}), Error);
}

TEST(DecodeByBeam, FindsTheLikeliestTextAndItsProbability) {
  constexpr int steps = 5, classes = 4;
  int unlike_greedy = 0;
  for (unsigned seed = 0; seed < 40; ++seed) {
    const auto logits = random_logits(steps, classes, seed);
    const auto texts = all_texts(logits, steps, classes);
    const auto best =
        std::max_element(texts.begin(), texts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    const DecodedText found = decode_by_beam(logits, classes, 1000);
    EXPECT_EQ(found.labels, best->first) << "seed " << seed;
    EXPECT_NEAR(found.confidence, best->second, 1e-4);
    unlike_greedy += read_greedily({1, steps, classes}, logits, {steps}).front().labels != found.labels ? 1 : 0;
  }
  EXPECT_GT(unlike_greedy, 0) << "the sum over paths matters somewhere";
}

TEST(DecodeByBeam, ANarrowBeamFindsClearText) {
  std::vector<float> logits(30 * 50, 0.0F);
  Labels wanted;
  for (int step = 0; step < 30; ++step) {
    const int label = step % 2 == 0 ? 1 + step : 0;
    if (label > 0) wanted.push_back(label);
    logits[static_cast<std::size_t>(step * 50 + label)] = 12.0F;
  }
  EXPECT_EQ(decode_by_beam(logits, 50, 2).labels, wanted);
}

TEST(EditDistance, CountsInsertionsDeletionsAndSubstitutions) {
  const Labels kitten = {1, 2, 3, 3, 4, 5}, sitting = {6, 2, 3, 3, 2, 5, 7};
  EXPECT_EQ(edit_distance(kitten, sitting), 3);
  EXPECT_EQ(edit_distance(sitting, kitten), 3);
  EXPECT_EQ(edit_distance(kitten, kitten), 0);
  EXPECT_EQ(edit_distance(kitten, {}), 6);
  EXPECT_EQ(edit_distance({}, kitten), 6);
}

}  // namespace
}  // namespace trireme
