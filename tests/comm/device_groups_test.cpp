#include "comm/device_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/nccl/nccl_world.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(WhyStaged, NothingWhereEveryRankHasAGpuOfItsOwn) {
  // The same places on the bus of different hosts are different GPUs.
  const GpuPlace places[] = {{"a", 0x100, true}, {"a", 0x200, true}, {"b", 0x100, true}, {"b", 0x200, true}};
  EXPECT_EQ(why_staged(places), "");
}

TEST(WhyStaged, SaysWhoSharesAndWhatHelps) {
  const GpuPlace places[] = {{"b", 1, true}, {"a", 1, true}, {"b", 1, true}, {"b", 1, true}, {"a", 2, true}};
  EXPECT_THAT(why_staged(places), AllOf(HasSubstr("3 ranks share 1 GPU on host b"), HasSubstr("MPI and host memory"),
                                        HasSubstr("give each rank a GPU of its own")));
}

TEST(WhyStaged, OneHostWithoutNcclIsEnough) {
  const GpuPlace places[] = {{"a", 1, true}, {"b", 1, false}};
  EXPECT_THAT(why_staged(places), AllOf(HasSubstr("host b"), HasSubstr("install NCCL")));
}

TEST(WhyNoNccl, IsNothingOrSaysWhatToDo) {
  EXPECT_THAT(why_no_nccl(), testing::AnyOf("", HasSubstr("install"), HasSubstr("without CUDA")));
}

}  // namespace
}  // namespace trireme
