// Arithmetic on boxes of tensors.
#include <gmock/gmock.h>

#include "io/checkpoint/format.h"
#include "tests/io/checkpoint_support.h"

namespace trireme {
namespace {

using checkpoint::Box;
using testing::AllOf;
using testing::HasSubstr;

std::string tiling_error(const Shape& global, const std::vector<Box>& boxes) {
  checkpoint::StoredTensor tensor{global, {}};
  for (const Box& box : boxes) tensor.pieces.push_back({fmt::format("shard-{}", tensor.pieces.size()), box});
  return error_of([&] { checkpoint::check_tiling("parameters/x", tensor); }).what();
}

TEST(CheckpointTiling, HolesOverlapsAndStraysAreFound) {
  const std::string fine = "nothing was thrown";
  EXPECT_EQ(tiling_error({4, 6}, {{{0, 0}, {4, 6}}}), fine);
  EXPECT_EQ(tiling_error({4, 6}, {{{2, 0}, {2, 3}}, {{0, 0}, {2, 6}}, {{2, 3}, {2, 3}}}), fine);
  EXPECT_EQ(tiling_error({2, 2, 2, 2}, {{{0, 0, 0, 1}, {2, 2, 2, 1}}, {{0, 0, 0, 0}, {2, 2, 2, 1}}}), fine);
  EXPECT_EQ(tiling_error({5}, {{{3}, {2}}, {{0}, {3}}}), fine);
  EXPECT_THAT(tiling_error({4, 6}, {{{0, 0}, {2, 6}}, {{2, 0}, {2, 5}}}),
              AllOf(HasSubstr("parameters/x"), HasSubstr("22 of the 24"), HasSubstr("hole")));
  EXPECT_THAT(tiling_error({4, 6}, {{{0, 0}, {3, 6}}, {{2, 0}, {2, 6}}}),
              AllOf(HasSubstr("[0:3, 0:6] in shard-0"), HasSubstr("[2:4, 0:6] in shard-1"), HasSubstr("overlap")));
  // As many elements as there should be, but one twice and one never.
  EXPECT_THAT(tiling_error({4}, {{{0}, {2}}, {{1}, {2}}}), HasSubstr("overlap"));
  EXPECT_THAT(tiling_error({4, 6}, {{{0, 0}, {4, 6}}, {{4, 0}, {1, 6}}}), HasSubstr("does not lie within"));
  EXPECT_THAT(tiling_error({4, 6}, {{{0}, {4}}}), HasSubstr("does not lie within"));
  EXPECT_THAT(tiling_error({4}, {{{-1}, {4}}}), HasSubstr("does not lie within"));
}

TEST(CheckpointBoxes, WhatTwoBoxesShareIsCopied) {
  const Box from{{1, 0, 2}, {3, 4, 5}};
  const Box to{{0, 2, 3}, {3, 4, 9}};
  std::vector<float> source(60);
  for (std::size_t at = 0; at < source.size(); ++at) source[at] = static_cast<float>(at) + 1.0F;
  std::vector<float> target(108, 0.0F);
  EXPECT_EQ(checkpoint::copy_overlap(from, source.data(), to, target.data()), 2 * 2 * 4);
  for (std::int64_t a = 0; a < 3; ++a) {
    for (std::int64_t b = 2; b < 6; ++b) {
      for (std::int64_t c = 3; c < 12; ++c) {
        const bool shared = a >= 1 && b < 4 && c < 7;
        const auto expected = shared ? static_cast<float>(((a - 1) * 4 + b) * 5 + c - 2 + 1) : 0.0F;
        EXPECT_EQ(target[static_cast<std::size_t>((a * 4 + b - 2) * 9 + c - 3)], expected) << a << b << c;
      }
    }
  }
  EXPECT_EQ(checkpoint::copy_overlap(from, source.data(), {{4, 0, 0}, {1, 9, 9}}, target.data()), 0);
}

}  // namespace
}  // namespace trireme
