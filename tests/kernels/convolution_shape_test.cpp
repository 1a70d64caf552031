#include "kernels/convolution_shape.h"

#include <gtest/gtest.h>

#include "kernels/error.h"

namespace trireme {
namespace {

TEST(OutputExtent, CountsTheWindowsThatFit) {
  EXPECT_EQ(output_extent(224, 7, 2, 3), 112);
  EXPECT_EQ(output_extent(112, 3, 2, 1), 56);
  EXPECT_EQ(output_extent(7, 7, 1, 0), 1);
  EXPECT_EQ(output_extent(8, 3, 1, 2, 2), 8);
  EXPECT_EQ(output_extent(1, 3, 2, 1), 1);
  EXPECT_EQ(output_extent(2, 1, 2, 0), 1);
}

TEST(OutputExtent, RefusesWindowsThatDoNotFit) {
  EXPECT_THROW(output_extent(6, 7, 1, 0), Error);
  EXPECT_THROW(output_extent(4, 3, 1, 0, 2), Error);
  EXPECT_THROW(output_extent(0, 1, 1, 1), Error);
  EXPECT_THROW(output_extent(8, 0, 1, 0), Error);
  EXPECT_THROW(output_extent(8, 3, 0, 0), Error);
  EXPECT_THROW(output_extent(8, 3, 1, -1), Error);
  EXPECT_THROW(output_extent(8, 3, 1, 0, 0), Error);
}

TEST(ConvolutionOutput, FollowsFromImageAndFilter) {
  const ConvolutionShape stem = {.stride_height = 2, .stride_width = 2, .pad_height = 3, .pad_width = 3};
  EXPECT_EQ(convolution_output(stem, {32, 224, 192, 3}, {64, 7, 7, 3}), (Shape{32, 112, 96, 64}));
  EXPECT_EQ(convolution_output({.groups = 4}, {1, 5, 6, 8}, {12, 3, 2, 2}), (Shape{1, 3, 5, 12}));
}

TEST(ConvolutionOutput, RefusesWhatDoesNotFit) {
  EXPECT_THROW(convolution_output({}, {1, 5, 6, 8}, {12, 3, 3, 4}), Error);
  EXPECT_THROW(convolution_output({.groups = 2}, {1, 5, 6, 8}, {12, 3, 3, 8}), Error);
  EXPECT_THROW(convolution_output({.groups = 2}, {1, 5, 6, 8}, {11, 3, 3, 4}), Error);
  EXPECT_THROW(convolution_output({.groups = 3}, {1, 5, 6, 8}, {12, 3, 3, 2}), Error);
  EXPECT_THROW(convolution_output({.groups = 0}, {1, 5, 6, 8}, {12, 3, 3, 8}), Error);
  EXPECT_THROW(convolution_output({}, {5, 6, 8}, {12, 3, 3, 8}), Error);
}

TEST(PoolingOutput, FollowsFromTheImageAndKeepsChannels) {
  PoolingArgs args = {.height = 3, .width = 2, .pad_height = 1};
  EXPECT_EQ(pooling_output(args, {2, 112, 7, 5}), (Shape{2, 56, 3, 5}));
  args.pad_height = 3;
  EXPECT_THROW(pooling_output(args, {2, 112, 7, 5}), Error) << "windows without a cell";
  args.pad_height = 0;
  EXPECT_THROW(pooling_output(args, {2, 2, 7, 5}), Error);
  EXPECT_THROW(pooling_output(args, {112, 7, 5}), Error);
}

}  // namespace
}  // namespace trireme
