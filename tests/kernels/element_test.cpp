#include "kernels/cpu/element.h"

#include <gtest/gtest.h>

#include <cmath>

namespace trireme {
namespace {

TEST(Element, ExpIsWithinTwoUnitsInTheLastPlace) {
  for (double x = -87.3; x < 88.72; x += 0.000317) {
    const auto argument = static_cast<float>(x);
    const double wanted = std::exp(static_cast<double>(argument));
    const double unit = std::ldexp(1.0, std::ilogb(wanted) - 23);
    ASSERT_NEAR(exp_vector(argument), wanted, 2.0 * unit) << argument;
  }
}

TEST(Element, ExpAtTheEdges) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(exp_vector(0.0F), 1.0F);
  EXPECT_EQ(exp_vector(-0.0F), 1.0F);
  EXPECT_EQ(exp_vector(-88.0F), 0.0F);
  EXPECT_EQ(exp_vector(-1e30F), 0.0F);
  EXPECT_EQ(exp_vector(-infinity), 0.0F);
  EXPECT_EQ(exp_vector(88.73F), infinity);
  EXPECT_EQ(exp_vector(1e30F), infinity);
  EXPECT_EQ(exp_vector(infinity), infinity);
  EXPECT_TRUE(std::isnan(exp_vector(std::bit_cast<float>(0x7fc00001U))));
  EXPECT_TRUE(std::isnan(exp_vector(std::bit_cast<float>(0xff800001U))));
  EXPECT_GT(exp_vector(88.722F), 3.3e38F);
  EXPECT_LT(exp_vector(88.722F), infinity);
}

TEST(Element, StoreRoundsEveryBfloat16NeighbourhoodAsToBfloat16Does) {
  for (std::uint32_t upper = 0; upper < 0x10000U; ++upper) {
    for (const std::uint32_t lower : {0U, 1U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
      const auto value = std::bit_cast<float>(upper << 16 | lower);
      bfloat16 stored;
      store(stored, value);
      ASSERT_EQ(stored.bits, to_bfloat16(value).bits) << std::hex << upper << " " << lower;
    }
    const bfloat16 half{static_cast<std::uint16_t>(upper)};
    ASSERT_EQ(std::bit_cast<std::uint32_t>(load(half)), std::bit_cast<std::uint32_t>(to_float(half)));
  }
}

}  // namespace
}  // namespace trireme
