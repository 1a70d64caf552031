// Communicators over NCCL on an emulated GPU: order on streams, requests, recordings, and failures of all kinds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <optional>

#include "comm/nccl/nccl_world.h"
#include "comm/self_communicator.h"
#include "kernels/error.h"
#include "tests/emulation/nccl_script.h"

namespace trireme {
namespace {

using emulation::nccl_script;
using emulation::NcclScript;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr auto send = Transfer::Direction::send;
constexpr auto receive = Transfer::Direction::receive;
const NcclPatience no_patience{.start = std::chrono::duration<double>(0),
                               .operation = std::chrono::duration<double>(0)};

/// Rank 1 of 3, which are not there.
class LonelyHost final : public Communicator {
 public:
  int rank() const override { return 1; }
  int size() const override { return 3; }
  const std::string& name() const override { return name_; }
  Request all_reduce(Tensor /*buffer*/, Reduction /*reduction*/) override { return {}; }
  Request reduce_scatter(Tensor /*input*/, Tensor /*output*/) override { return {}; }
  Request all_gather(Tensor /*input*/, Tensor /*output*/) override { return {}; }
  Request broadcast(Tensor buffer, int /*root*/) override {
    for (std::int32_t& word : buffer.values<std::int32_t>()) word = 0x07070707;  // the id of rank 0
    return {};
  }
  Request all_to_all(Tensor /*input*/, Tensor /*output*/) override { return {}; }
  Exchange exchange(std::span<const Transfer> /*transfers*/) override { return {}; }
  void barrier() override { ++barriers; }

  int barriers = 0;

 private:
  std::string name_ = "tensor";
};

class Nccl : public testing::Test {
 protected:
  void SetUp() override { nccl_script() = {}; }
  void TearDown() override {
    group_.reset();
    EXPECT_EQ(nccl_script().communicators, 0);
    nccl_script() = {};
  }

  /// A communicator of this rank alone, or of one among three.
  Communicator& make(NcclPatience patience = {}, bool alone = true) {
    world_.emplace(*backend_, patience);
    group_ = world_->group(alone ? make_self_communicator("data") : std::make_unique<LonelyHost>());
    return *group_;
  }
  Tensor floats(std::int64_t elements, float value) {
    const std::vector<float> values(static_cast<std::size_t>(elements), value);
    Tensor tensor = backend_->allocate({elements}, DType::f32);
    backend_->upload(values.data(), tensor);
    return tensor;
  }
  std::vector<float> values(const Tensor& tensor) {
    std::vector<float> result(static_cast<std::size_t>(tensor.elements()));
    backend_->download(tensor, result.data());
    return result;
  }
  /// What a call throws.
  template <typename Call>
  static std::string error_of(Call call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  std::size_t bytes_in_use() const { return backend_->pool().statistics().bytes_in_use; }

  std::unique_ptr<Backend> backend_ = make_cuda_backend(0);
  std::optional<NcclWorld> world_;
  std::unique_ptr<Communicator> group_;
};

TEST_F(Nccl, OperationsFollowWhatWasEnqueuedAndPrecedeWhatComesAfter) {
  // However long NCCL takes to enqueue. The emulated streams run late, so that a missing order shows.
  for (const int polls : {0, 1, 3}) {
    nccl_script().polls = polls;
    Communicator& group = make();
    using Collective = Request (Communicator::*)(Tensor, Tensor);
    for (const Collective collective :
         {&Communicator::reduce_scatter, &Communicator::all_gather, &Communicator::all_to_all}) {
      const Tensor input = backend_->allocate({1000}, DType::f32);
      const Tensor output = backend_->allocate({1000}, DType::f32);
      const Tensor after = backend_->allocate({1000}, DType::f32);
      for (const float value : {1.0F, 2.0F}) {
        backend_->cast(floats(1000, value), input);
        Request request = (group.*collective)(input, output);
        request.wait();
        backend_->cast(output, after);
        EXPECT_EQ(values(after), std::vector<float>(1000, value));
      }
    }
    group_.reset();
  }
}

TEST_F(Nccl, CallsTheCollectiveOfEveryTypeAndReduction) {
  Communicator& group = make();
  for (const DType type : {DType::f32, DType::bf16, DType::f64, DType::i32}) {
    const Tensor tensor = backend_->allocate({6}, type);
    group.all_reduce(tensor, Reduction::maximum).wait();
    group.broadcast(tensor, 0).wait();
  }
  group.all_reduce(floats(5, 1), Reduction::sum).wait();
  group.all_reduce(floats(5, 1), Reduction::minimum).wait();
  group.all_reduce(floats(0, 1), Reduction::sum).wait();  // needs no call
  EXPECT_THAT(nccl_script().calls,
              ElementsAre("init", "maximum 6", "broadcast 6", "maximum 6", "broadcast 6", "maximum 6", "broadcast 6",
                          "maximum 6", "broadcast 6", "sum 5", "minimum 5"));
}

TEST_F(Nccl, MessagesToItselfMeetByTagAndOrder) {
  Communicator& group = make();
  const Tensor a = floats(3, 0);
  const Tensor b = floats(3, 0);
  const Tensor c = floats(3, 0);
  const Transfer transfers[] = {{receive, 0, 1, a},          {receive, 0, 2, b}, {send, 0, 2, floats(3, 20)},
                                {send, 0, 1, floats(3, 10)}, {receive, 0, 2, c}, {send, 0, 2, floats(3, 30)}};
  group.exchange(transfers).wait();
  EXPECT_EQ(values(a)[2], 10);
  EXPECT_EQ(values(b)[2], 20);
  EXPECT_EQ(values(c)[2], 30);
}

TEST_F(Nccl, BothSidesOfAnExchangeListTheirMessagesByTag) {
  Communicator& group = make({}, false);
  EXPECT_EQ(group.name(), "tensor");
  const Transfer transfers[] = {{send, 2, 9, floats(1, 0)},    {send, 0, 5, floats(2, 0)},
                                {receive, 0, 7, floats(3, 0)}, {send, 0, 4, floats(4, 0)},
                                {receive, 0, 6, floats(5, 0)}, {send, 0, 5, floats(6, 0)},
                                {receive, 2, 1, floats(0, 0)}, {receive, 0, 6, floats(7, 0)}};
  group.exchange(transfers).wait();
  EXPECT_THAT(nccl_script().calls, ElementsAre("init", "send 4 to 0", "send 2 to 0", "send 6 to 0", "receive 5 from 0",
                                               "receive 7 from 0", "receive 3 from 0", "send 1 to 2"));
}

TEST_F(Nccl, ARankThatReceivesNothingNeedNotWait) {
  Communicator& group = make({}, false);
  const Transfer sends[] = {{send, 2, 0, floats(10, 1)}};
  Exchange exchange = group.exchange(sends);
  EXPECT_TRUE(exchange.received.test());
  while (!exchange.sent.test()) {
  }
}

TEST_F(Nccl, FailsOnArgumentsThatDoNotFit) {
  Communicator& group = make({}, false);
  EXPECT_THROW(group.broadcast(floats(1, 0), 3), Error);
  EXPECT_THROW(group.all_gather(floats(3, 0), floats(10, 0)), Error);
  EXPECT_THROW(group.reduce_scatter(floats(10, 0), floats(3, 0)), Error);
  EXPECT_THROW(group.all_to_all(floats(3, 0), floats(6, 0)), Error);
  const Transfer stranger[] = {{send, 3, 0, floats(1, 0)}};
  EXPECT_THROW(group.exchange(stranger), Error);
  group.all_reduce(floats(1, 0), Reduction::sum).wait();  // and goes on
}

TEST_F(Nccl, RequestsHoldTheirTensorsUntilTheyAreWaitedFor) {
  Communicator& group = make();
  const Tensor result = floats(100'000, 0);
  const std::size_t before = bytes_in_use();
  Request request = group.all_gather(floats(100'000, 4), result);
  EXPECT_GT(bytes_in_use(), before);
  const Tensor other = floats(100'000, -7);  // the pool would hand out a block that nobody holds
  request.wait();
  EXPECT_EQ(values(result)[99'999], 4);
  EXPECT_EQ(bytes_in_use(), 2 * before);
}

TEST_F(Nccl, ARequestThatNobodyWaitedForOutlivesItsCommunicatorAndCompletes) {
  const Tensor result = floats(1000, 0);
  {
    const Request unwaited = make().all_gather(floats(1000, 6), result);
    group_.reset();
  }
  const Tensor after = floats(1000, 0);
  backend_->cast(result, after);
  EXPECT_EQ(values(after)[999], 6);
}

TEST_F(Nccl, ARequestDroppedByAnExceptionKeepsItsMemoryFromBeingUsedAgain) {
  Communicator& group = make({}, false);
  const std::size_t before = bytes_in_use();
  EXPECT_THROW(
      {
        const Request request = group.all_reduce(floats(1000, 1), Reduction::sum);
        fail("on purpose");
      },
      Error);
  EXPECT_GT(bytes_in_use(), before);
}

TEST_F(Nccl, OperationsCanBeRecordedAndReplayed) {
  Communicator& group = make();
  const Tensor input = floats(100, 1);
  const Tensor output = floats(100, 0);
  const auto work = [&] {
    const Tensor gathered = backend_->allocate({100}, DType::f32);
    Request request = group.all_gather(input, gathered);
    Exchange exchange;
    {
      const Tensor back = backend_->allocate({100}, DType::f32);
      request.wait();
      const Transfer ring[] = {{send, 0, 0, gathered}, {receive, 0, 0, back}};
      exchange = group.exchange(ring);
      EXPECT_FALSE(exchange.received.test());  // nothing happens while it is recorded
      exchange.wait();
      backend_->add(back, output, output);
    }
  };
  const auto recording = backend_->record(work);
  ASSERT_TRUE(recording);
  EXPECT_EQ(values(output)[99], 0);
  recording->replay();
  group.all_reduce(input, Reduction::sum).wait();  // others go in between
  recording->replay();
  EXPECT_EQ(values(output)[99], 2);
}

TEST_F(Nccl, LeavesInGoodOrder) {
  nccl_script().polls_of_finalize = 3;
  make();
  group_.reset();
  EXPECT_THAT(nccl_script().calls, ElementsAre("init", "finalize", "destroy"));
}

TEST_F(Nccl, AbortsWhereOthersDoNotTakeLeave) {
  make({.start = std::chrono::duration<double>(0)});
  nccl_script().polls_of_finalize = NcclScript::for_ever;
  group_.reset();
  EXPECT_THAT(nccl_script().calls, ElementsAre("init", "finalize", "abort"));
}

TEST_F(Nccl, AbortsWhileAnExceptionPasses) {
  NcclWorld world(*backend_);
  EXPECT_THROW(
      {
        const auto group = world.group(make_self_communicator("data"));
        fail("on purpose");
      },
      Error);
  EXPECT_THAT(nccl_script().calls, ElementsAre("init", "abort"));
}

TEST_F(Nccl, AFailingRankCanGiveAllUpAtOnce) {
  Communicator& group = make();
  world_->abort();
  EXPECT_THAT(error_of([&] { group.all_reduce(floats(1, 0), Reduction::sum); }), HasSubstr("this rank failed"));
}

TEST_F(Nccl, RanksThatDoNotFindEachOtherAreGivenUp) {
  nccl_script().polls = NcclScript::for_ever;
  EXPECT_THAT(error_of([&] { make({.start = std::chrono::duration<double>(0.01)}, false); }),
              AllOf(HasSubstr("group tensor, rank 1 of 3"), HasSubstr("ncclCommInitRankConfig has not begun after"),
                    HasSubstr("not all ranks")));
  EXPECT_THAT(nccl_script().calls, ElementsAre("init", "abort"));
}

TEST_F(Nccl, AnOperationThatPeersDoNotComeToIsGivenUp) {
  Communicator& group = make({.operation = std::chrono::duration<double>(0.01)}, false);
  nccl_script().polls = NcclScript::for_ever;
  const std::string error = error_of([&] { group.all_reduce(floats(12, 0), Reduction::sum); });
  EXPECT_THAT(error, AllOf(HasSubstr("group tensor, rank 1 of 3"), HasSubstr("all_reduce of 12 fp32 has not begun")));
  EXPECT_THAT(nccl_script().calls, Contains("abort"));
}

TEST_F(Nccl, WhatNcclRefusesIsToldInItsOwnWords) {
  Communicator& group = make({}, false);
  nccl_script().refuses = ncclInvalidUsage;
  nccl_script().last_error = "buffers of the wrong kind";
  const Transfer transfers[] = {{send, 0, 0, floats(1, 0)}, {receive, 0, 0, floats(1, 0)}};
  EXPECT_THAT(error_of([&] { group.exchange(transfers); }),
              AllOf(HasSubstr("exchange of 2 fp32: emulated NCCL error (buffers of the wrong kind)")));
  EXPECT_THAT(nccl_script().calls, Contains("abort"));
  nccl_script().last_error.clear();
  // The group that was begun has been ended: others work.
  NcclWorld world(*backend_);
  world.group(make_self_communicator("data"))->all_reduce(floats(1, 0), Reduction::sum).wait();
}

TEST_F(Nccl, ErrorsInTheBackgroundAreFoundWhileTheHostWaits) {
  Communicator& group = make({}, false);
  const auto other = world_->group(make_self_communicator("data"));
  group.broadcast(floats(8, 0), 0).wait();
  nccl_script().background = ncclRemoteError;
  nccl_script().last_error = "connection closed by peer gpu7";
  const std::string error = error_of([&] { world_->check(); });
  EXPECT_THAT(error, AllOf(HasSubstr("group tensor, rank 1 of 3"), HasSubstr("after broadcast of 8 fp32 was started"),
                           HasSubstr("remote process exited"), HasSubstr("connection closed by peer gpu7")));
  EXPECT_THAT(nccl_script().calls, Contains("abort"));
  EXPECT_THAT(error_of([&] { group.all_reduce(floats(1, 0), Reduction::sum); }),
              AllOf(HasSubstr("all_reduce"), HasSubstr("remote process exited")));
  nccl_script().background = ncclSuccess;
}

/// Starts operations, and has the communicator looked after, until one is found not to be complete. Whether the
/// emulated device is still at work is a matter of chance.
template <typename Start>
std::string error_while_waiting(NcclWorld& world, Start start) {
  for (int attempt = 0; attempt < 64; ++attempt) {
    try {
      start();
      world.check();
    } catch (const Error& error) {
      return error.what();
    }
  }
  return "no error";
}

TEST_F(Nccl, AnOperationThatDoesNotEndIsGivenUp) {
  make(no_patience, false);
  EXPECT_THAT(error_while_waiting(*world_, [&] { group_->all_reduce(floats(12, 0), Reduction::sum).wait(); }),
              AllOf(HasSubstr("group tensor, rank 1 of 3"),
                    HasSubstr("all_reduce of 12 fp32 is not complete after 0 s"), Not(HasSubstr("recording"))));
  EXPECT_THAT(nccl_script().calls, Contains("abort"));
}

TEST_F(Nccl, ARecordedOperationThatDoesNotEndIsGivenUp) {
  make(no_patience, false);
  const Tensor tensor = floats(12, 0);
  const auto recording = backend_->record([&] { group_->all_reduce(tensor, Reduction::sum).wait(); });
  EXPECT_THAT(error_while_waiting(*world_, [&] { recording->replay(); }),
              HasSubstr("a recording that ends with all_reduce of 12 fp32 is not complete"));
}

TEST_F(Nccl, APatientHostWaitsOnAndOnAndForgetsWhatIsComplete) {
  Communicator& group = make();
  const Tensor tensor = floats(12, 1);
  for (int step = 0; step < 200; ++step) {
    group.all_reduce(tensor, Reduction::sum).wait();
    world_->check();
  }
  backend_->synchronize();
  EXPECT_EQ(values(tensor)[0], 1);
}

TEST_F(Nccl, BarriersAreOfTheHosts) {
  auto host = std::make_unique<LonelyHost>();
  const LonelyHost& seen = *host;
  NcclWorld world(*backend_);
  const auto group = world.group(std::move(host));
  group->barrier();
  EXPECT_EQ(seen.barriers, 1);
}

}  // namespace
}  // namespace trireme
