#include "comm/self_communicator.h"

#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "kernels/error.h"

namespace trireme {
namespace {

class SelfCommunicatorTest : public testing::Test {
 protected:
  Tensor tensor(float first) {
    Tensor result = backend_->allocate({3}, DType::f32);
    for (float& value : result.values<float>()) value = first++;
    return result;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
  std::unique_ptr<Communicator> self_ = make_self_communicator("tensor");
};

TEST_F(SelfCommunicatorTest, CollectivesAreCopies) {
  EXPECT_EQ(self_->size(), 1);
  EXPECT_EQ(self_->rank(), 0);
  EXPECT_EQ(self_->name(), "tensor");
  Tensor input = tensor(1);
  self_->all_reduce(input, Reduction::sum).wait();
  self_->broadcast(input, 0).wait();
  self_->barrier();
  EXPECT_EQ(input.values<float>()[2], 3.0F);
  using Collective = Request (Communicator::*)(Tensor, Tensor);
  for (const Collective collective :
       {&Communicator::reduce_scatter, &Communicator::all_gather, &Communicator::all_to_all}) {
    Tensor output = tensor(-9);
    EXPECT_TRUE((self_.get()->*collective)(input, output).test());
    EXPECT_EQ(output.values<float>()[0], 1.0F);
    EXPECT_EQ(output.values<float>()[2], 3.0F);
  }
}

TEST_F(SelfCommunicatorTest, ExchangeKeepsTagsApartAndOrderWithinOne) {
  constexpr auto send = Transfer::Direction::send;
  constexpr auto receive = Transfer::Direction::receive;
  Tensor a = tensor(0);
  Tensor b = tensor(0);
  Tensor c = tensor(0);
  const Transfer transfers[] = {{receive, 0, 1, a},       {receive, 0, 2, b}, {send, 0, 2, tensor(20)},
                                {send, 0, 1, tensor(10)}, {receive, 0, 2, c}, {send, 0, 2, tensor(30)}};
  self_->exchange(transfers).wait();
  EXPECT_EQ(a.values<float>()[0], 10.0F);
  EXPECT_EQ(b.values<float>()[0], 20.0F);
  EXPECT_EQ(c.values<float>()[0], 30.0F);
}

TEST_F(SelfCommunicatorTest, FailsOnWhatCannotBeDone) {
  const Transfer lost[] = {{Transfer::Direction::send, 0, 1, tensor(0)}};
  EXPECT_THROW(self_->exchange(lost), Error);
  const Transfer awaited[] = {{Transfer::Direction::receive, 0, 1, tensor(0)}};
  EXPECT_THROW(self_->exchange(awaited), Error);
  const Transfer stranger[] = {{Transfer::Direction::send, 1, 1, tensor(0)}};
  EXPECT_THROW(self_->exchange(stranger), Error);
  EXPECT_THROW(self_->broadcast(tensor(0), 1), Error);
  EXPECT_THROW(self_->all_gather(tensor(0), backend_->allocate({4}, DType::f32)), Error);
  EXPECT_THROW(self_->all_gather(tensor(0), backend_->allocate({3}, DType::i32)), Error);
}

}  // namespace
}  // namespace trireme
