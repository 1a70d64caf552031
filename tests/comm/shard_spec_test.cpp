#include "comm/shard_spec.h"

#include <gtest/gtest.h>

#include "kernels/error.h"

namespace trireme {
namespace {

TEST(ShardSpec, PartAlongAnAxis) {
  const ShardSpec shard = shard_of({6, 8}, 1, 3, 4);
  EXPECT_EQ(shard.global, (Shape{6, 8}));
  EXPECT_EQ(shard.extent, (Shape{6, 2}));
  EXPECT_EQ(shard.offset[0], 0);
  EXPECT_EQ(shard.offset[1], 6);
  EXPECT_EQ(shard.replica, 0);
  EXPECT_FALSE(shard.whole());
}

TEST(ShardSpec, PartsCoverEveryRank) {
  for (const Shape& global : {Shape{12}, Shape{12, 5}, Shape{12, 5, 7}, Shape{12, 5, 7, 2}}) {
    std::int64_t next = 0;
    for (int part = 0; part < 3; ++part) {
      const ShardSpec shard = shard_of(global, 0, part, 3);
      EXPECT_EQ(shard.offset[0], next);
      EXPECT_EQ(shard.extent.rank(), global.rank());
      EXPECT_EQ(shard.extent.elements() * 3, global.elements());
      next += shard.extent[0];
    }
    EXPECT_EQ(next, global[0]);
  }
}

TEST(ShardSpec, WholeCountsItsCopies) {
  const ShardSpec shard = shard_of({6, 8}, -1, 2, 4);
  EXPECT_TRUE(shard.whole());
  EXPECT_EQ(shard.replica, 2);
  EXPECT_TRUE(shard_of({6, 8}, 0, 0, 1).whole());
}

TEST(ShardSpec, FailsOnUnevenPartsAndMissingAxes) {
  EXPECT_THROW(shard_of({6, 8}, 0, 0, 4), Error);
  EXPECT_THROW(shard_of({6, 8}, 2, 0, 2), Error);
  EXPECT_THROW(shard_of({6, 8}, 0, 2, 2), Error);
  EXPECT_THROW(shard_of({6, 8}, -1, -1, 2), Error);
}

}  // namespace
}  // namespace trireme
