#include "kernels/philox.h"

#include <gtest/gtest.h>

#include <cmath>

namespace trireme {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Known answers of the authors' Random123 library for philox4x32 with 10 rounds.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ULL, ~0ULL, ~0ULL), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822ULL, 0x0370734413198a2eULL, 0x85a308d3243f6a88ULL),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformStaysBelowOne) {
  EXPECT_EQ(uniform_float(0), 0.0F);
  EXPECT_LT(uniform_float(0xffffffffU), 1.0F);
  EXPECT_EQ(uniform_float(0x80000000U), 0.5F);
}

TEST(Philox, UniformHasTheRightMeanAndVariance) {
  constexpr int groups = 25000;
  double sum = 0.0;
  double squares = 0.0;
  for (int i = 0; i < groups; ++i) {
    for (const std::uint32_t word : philox(42, 7, static_cast<std::uint64_t>(i))) {
      const double value = uniform_float(word);
      sum += value;
      squares += value * value;
    }
  }
  const double count = 4.0 * groups;
  const double mean = sum / count;
  EXPECT_NEAR(mean, 0.5, 4.0 * std::sqrt(1.0 / 12.0 / count));
  EXPECT_NEAR(squares / count - mean * mean, 1.0 / 12.0, 1e-3);
}

TEST(Philox, StreamsAndSeedsDiffer) {
  EXPECT_NE(philox(1, 2, 3), philox(1, 2, 4));
  EXPECT_NE(philox(1, 2, 3), philox(1, 3, 3));
  EXPECT_NE(philox(1, 2, 3), philox(2, 2, 3));
  EXPECT_NE(stream_of("block.0"), stream_of("block.1"));
  EXPECT_EQ(stream_of(""), 0xcbf29ce484222325ULL);
  EXPECT_EQ(stream_of("a"), 0xaf63dc4c8601ec8cULL);  // from the definition of FNV-1a
}

}  // namespace
}  // namespace trireme
