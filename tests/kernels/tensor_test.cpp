#include "kernels/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/backend.h"
#include "kernels/error.h"

namespace trireme {
namespace {

struct TensorTest : testing::Test {
  std::unique_ptr<Backend> backend = make_cpu_backend(1);
  Tensor counted(const Shape& shape) {
    Tensor tensor = backend->allocate(shape, DType::i32);
    const auto values = tensor.values<std::int32_t>();
    std::iota(values.begin(), values.end(), 0);
    return tensor;
  }
};

template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Shape, KnowsRowsColumnsAndElements) {
  const Shape shape = {4, 3, 5};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.elements(), 60);
  EXPECT_EQ(shape.rows(), 12);
  EXPECT_EQ(shape.columns(), 5);
  EXPECT_EQ(shape.to_string(), "[4, 3, 5]");
  EXPECT_EQ(shape, (Shape{4, 3, 5}));
  EXPECT_NE(shape, (Shape{4, 3, 5, 1}));
}

TEST(Shape, MayHoldNothing) {
  EXPECT_EQ(Shape().elements(), 0);
  EXPECT_EQ(Shape().rows(), 0);
  EXPECT_EQ((Shape{3, 0}).elements(), 0);
  EXPECT_EQ((Shape{3, 0}).rows(), 0);
  EXPECT_EQ((Shape{0, 3}).columns(), 3);
}

TEST(Shape, RefusesAFifthAxis) { EXPECT_THROW((Shape{1, 1, 1, 1, 1}), Error); }

TEST_F(TensorTest, ACopyIsAHandleOfTheSameElements) {
  Tensor one = counted({2, 3});
  Tensor two = one;
  two.values<std::int32_t>()[4] = 99;
  EXPECT_EQ(one.values<std::int32_t>()[4], 99);
  one = Tensor();
  EXPECT_TRUE(one.empty());
  EXPECT_EQ(two.values<std::int32_t>()[4], 99);
}

TEST_F(TensorTest, MemoryReturnsWithTheLastView) {
  Tensor tensor = counted({2, 3});
  Tensor row = tensor.view(3, {3});
  tensor = Tensor();
  EXPECT_THAT(row.values<std::int32_t>(), testing::ElementsAre(3, 4, 5));
  EXPECT_GT(backend->pool().statistics().bytes_in_use, 0U);
  row = Tensor();
  EXPECT_EQ(backend->pool().statistics().bytes_in_use, 0U);
}

TEST_F(TensorTest, ViewsOfViewsAndReshapesStayInPlace) {
  const Tensor tensor = counted({4, 3});
  const Tensor rows = tensor.view(3, {2, 3});
  EXPECT_THAT(rows.reshape({6}).view(2, {2}).values<std::int32_t>(), testing::ElementsAre(5, 6));
  EXPECT_EQ(rows.shape(), (Shape{2, 3}));
  EXPECT_EQ(rows.bytes(), 24U);
}

TEST_F(TensorTest, ViewsOutsideTheTensorFail) {
  const Tensor tensor = counted({4, 3});
  EXPECT_NO_THROW(tensor.view(12, {0}));
  EXPECT_THROW(tensor.view(-1, {2}), Error);
  EXPECT_THROW(tensor.view(10, {3}), Error);
  EXPECT_THROW(tensor.view(3, {3, 3}).view(0, {10}), Error);
}

TEST_F(TensorTest, AReshapeOfAnotherSizeNamesBothShapes) {
  const Tensor tensor = counted({4, 3});
  EXPECT_EQ(message_of([&] { tensor.reshape({5, 2}); }), "cannot reshape [4, 3] to [5, 2]");
}

TEST_F(TensorTest, AnotherElementTypeFails) {
  Tensor tensor = counted({4});
  EXPECT_EQ(message_of([&] { tensor.data<float>(); }), "tensor of int32 used as fp32");
}

TEST(Bfloat16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(to_bfloat16(1.0F).bits, 0x3f80);
  EXPECT_EQ(to_bfloat16(-2.5F).bits, 0xc020);
  EXPECT_EQ(to_bfloat16(0x1.01p0F).bits, 0x3f80);      // half way: down to even
  EXPECT_EQ(to_bfloat16(0x1.03p0F).bits, 0x3f82);      // half way: up to even
  EXPECT_EQ(to_bfloat16(0x1.010002p0F).bits, 0x3f81);  // just above half
  EXPECT_EQ(to_bfloat16(3.4e38F).bits, 0x7f80);        // rounds to infinity
  EXPECT_EQ(to_float(to_bfloat16(-0.0F)), 0.0F);
  EXPECT_TRUE(std::signbit(to_float(to_bfloat16(-0.0F))));
}

TEST(Bfloat16, KeepsInfinityAndNotANumber) {
  EXPECT_EQ(to_float(to_bfloat16(std::numeric_limits<float>::infinity())), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::bit_cast<float>(0x7f800001U)))));
}

}  // namespace
}  // namespace trireme
