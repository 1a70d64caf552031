// What every Communicator must do, on however many ranks there are. Values are small integers, exact in every type, so
// that sums are known whatever their order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "comm/device_groups.h"
#include "comm/staged_communicator.h"
#include "kernels/backend.h"
#include "kernels/error.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

/// What is tested: MPI; MPI by way of stand-ins, with the CPU as the device; whatever a GPU's tensors travel through
/// here.
enum class Through { mpi, staged, gpu };
constexpr Through every_way[] = {Through::mpi, Through::staged, Through::gpu};
std::string name_of(Through through) {
  return through == Through::mpi ? "mpi" : through == Through::staged ? "staged" : "gpu";
}

/// All ranks of the world, and the device whose tensors they send. Made once: a GPU takes its time.
struct Ranks {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<DeviceGroups> groups;
  std::unique_ptr<Communicator> all;
};

Ranks make_ranks(Through through) {
  World& world = test_world();
  std::vector<int> everyone(static_cast<std::size_t>(world.size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  Ranks ranks;
  if (through == Through::gpu) {
    if (cuda_device_count() == 0) return ranks;
    ranks.backend = make_cuda_backend(world.local_rank() % cuda_device_count());
    ranks.groups = std::make_unique<DeviceGroups>(world, *ranks.backend);
    ranks.all = ranks.groups->group("world", everyone);
    return ranks;
  }
  ranks.backend = make_cpu_backend(1);
  ranks.all = world.group("world", everyone);
  if (through == Through::staged) ranks.all = make_staged_communicator(std::move(ranks.all), *ranks.backend);
  return ranks;
}

/// Makes the ranks before the first test of a suite, and takes them down while MPI is still there.
template <typename Parameter>
class RanksTest : public testing::TestWithParam<Parameter> {
 public:
  // GoogleTest's names. NOLINTBEGIN(readability-identifier-naming)
  static void SetUpTestSuite() {
    for (const Through through : every_way) all_made.push_back(make_ranks(through));
  }
  static void TearDownTestSuite() { all_made.clear(); }
  // NOLINTEND(readability-identifier-naming)

 protected:
  explicit RanksTest(Through through)
      : backend_(made(through).backend.get()),
        all_(made(through).all.get()),
        nccl_(made(through).groups && made(through).groups->transport() == Transport::nccl) {}
  void SetUp() override {
    if (backend_ == nullptr) GTEST_SKIP() << "no CUDA device";
    rank_ = all_->rank();
    ranks_ = all_->size();
  }

  /// A tensor of the device with these bytes.
  Tensor on_device(const Tensor& host) {
    Tensor device = backend_->allocate(host.shape(), host.dtype());
    if (host.bytes() != 0) backend_->upload(host.raw(), device);
    return device;
  }
  Tensor on_host(const Tensor& device) {
    Tensor host(memory_, device.shape(), device.dtype());
    if (host.bytes() != 0) backend_->download(device, host.raw());
    return host;
  }
  Tensor allocate_on_host(std::int64_t elements, DType type) { return Tensor(memory_, {elements}, type); }

  Backend* backend_;
  Communicator* all_;
  bool nccl_;
  int rank_ = 0;
  int ranks_ = 1;

 private:
  static const Ranks& made(Through through) { return all_made[static_cast<std::size_t>(through)]; }
  static inline std::vector<Ranks> all_made;
  MemoryPool memory_{make_host_memory()};
};

struct Case {
  Through through;
  DType type;
  std::int64_t elements;  ///< of the part of one rank, for collectives that share out
};

class CommunicatorTest : public RanksTest<Case> {
 protected:
  CommunicatorTest() : RanksTest(GetParam().through) {}

  Tensor allocate(std::int64_t elements) { return backend_->allocate({elements}, GetParam().type); }

  static void set(Tensor& tensor, std::int64_t i, double value) {
    switch (tensor.dtype()) {
      case DType::f32:
        tensor.data<float>()[i] = static_cast<float>(value);
        break;
      case DType::bf16:
        tensor.data<bfloat16>()[i] = to_bfloat16(static_cast<float>(value));
        break;
      case DType::f64:
        tensor.data<double>()[i] = value;
        break;
      default:
        tensor.data<std::int32_t>()[i] = static_cast<std::int32_t>(value);
    }
  }
  static double get(const Tensor& tensor, std::int64_t i) {
    switch (tensor.dtype()) {
      case DType::f32:
        return tensor.data<float>()[i];
      case DType::bf16:
        return to_float(tensor.data<bfloat16>()[i]);
      case DType::f64:
        return tensor.data<double>()[i];
      default:
        return tensor.data<std::int32_t>()[i];
    }
  }

  template <typename Value>
  Tensor filled(std::int64_t elements, Value value) {
    Tensor result = allocate_on_host(elements, GetParam().type);
    for (std::int64_t i = 0; i < elements; ++i) set(result, i, value(i));
    return on_device(result);
  }
  template <typename Value>
  void expect(const Tensor& device, Value value) {
    const Tensor tensor = on_host(device);
    for (std::int64_t i = 0; i < tensor.elements(); ++i)
      ASSERT_EQ(get(tensor, i), value(i)) << "element " << i << " of " << tensor.elements();
  }
  /// A value that tells rank and element; at most 36, so that the sum over 7 ranks is exact in bf16.
  static double value_of(int rank, std::int64_t i) { return static_cast<double>((i * 5 + rank * 3) % 37); }

  std::int64_t n_ = GetParam().elements;
};

TEST_P(CommunicatorTest, AllReduce) {
  const auto each = [&](Reduction reduction, std::int64_t i) {
    double result = value_of(0, i);
    for (int rank = 1; rank < ranks_; ++rank) {
      const double other = value_of(rank, i);
      if (reduction == Reduction::sum) result += other;
      if (reduction == Reduction::maximum) result = std::max(result, other);
      if (reduction == Reduction::minimum) result = std::min(result, other);
    }
    return result;
  };
  for (const Reduction reduction : {Reduction::sum, Reduction::maximum, Reduction::minimum}) {
    const Tensor buffer = filled(n_, [&](std::int64_t i) { return value_of(rank_, i); });
    all_->all_reduce(buffer, reduction).wait();
    expect(buffer, [&](std::int64_t i) { return each(reduction, i); });
  }
}

TEST_P(CommunicatorTest, ReduceScatter) {
  const Tensor input = filled(n_ * ranks_, [&](std::int64_t i) { return value_of(rank_, i); });
  const Tensor output = filled(n_, [](std::int64_t) { return -1; });
  all_->reduce_scatter(input, output).wait();
  expect(output, [&](std::int64_t i) {
    double sum = 0;
    for (int rank = 0; rank < ranks_; ++rank) sum += value_of(rank, rank_ * n_ + i);
    return sum;
  });
  expect(input, [&](std::int64_t i) { return value_of(rank_, i); });
}

TEST_P(CommunicatorTest, AllGather) {
  const Tensor input = filled(n_, [&](std::int64_t i) { return value_of(rank_, i); });
  const Tensor output = filled(n_ * ranks_, [](std::int64_t) { return -1; });
  all_->all_gather(input, output).wait();
  expect(output, [&](std::int64_t i) { return value_of(static_cast<int>(i / n_), i % n_); });
}

TEST_P(CommunicatorTest, AllGatherInPlace) {
  const Tensor output = filled(n_ * ranks_, [&](std::int64_t i) { return i / n_ == rank_ ? value_of(rank_, i) : -1; });
  all_->all_gather(output.view(rank_ * n_, {n_}), output).wait();
  expect(output, [&](std::int64_t i) { return value_of(static_cast<int>(i / n_), i); });
}

TEST_P(CommunicatorTest, BroadcastFromEveryRoot) {
  for (int root = 0; root < ranks_; ++root) {
    const Tensor buffer = filled(n_, [&](std::int64_t i) { return rank_ == root ? value_of(root, i) : -1; });
    all_->broadcast(buffer, root).wait();
    expect(buffer, [&](std::int64_t i) { return value_of(root, i); });
  }
}

TEST_P(CommunicatorTest, AllToAll) {
  const auto value = [&](int from, int to, std::int64_t i) { return value_of(from * 5 + to, i); };
  const Tensor input =
      filled(n_ * ranks_, [&](std::int64_t i) { return value(rank_, static_cast<int>(i / n_), i % n_); });
  const Tensor output = filled(n_ * ranks_, [](std::int64_t) { return -1; });
  all_->all_to_all(input, output).wait();
  expect(output, [&](std::int64_t i) { return value(static_cast<int>(i / n_), rank_, i % n_); });
}

TEST_P(CommunicatorTest, RingsBothWaysAtOnce) {
  constexpr auto send = Transfer::Direction::send;
  constexpr auto receive = Transfer::Direction::receive;
  const int next = (rank_ + 1) % ranks_;
  const int last = (rank_ + ranks_ - 1) % ranks_;
  const Tensor up = filled(n_, [&](std::int64_t i) { return value_of(rank_, i); });
  const Tensor down = filled(n_, [&](std::int64_t i) { return value_of(rank_ + 7, i); });
  const Tensor from_last = allocate(n_);
  const Tensor from_next = allocate(n_);
  // Ranks list sends and receives in different orders, and on two ranks both messages come from the same peer.
  const std::vector<Transfer> odd = {
      {send, next, 1, up}, {send, last, 2, down}, {receive, next, 2, from_next}, {receive, last, 1, from_last}};
  const std::vector<Transfer> even(odd.rbegin(), odd.rend());
  all_->exchange(rank_ % 2 != 0 ? odd : even).wait();
  expect(from_last, [&](std::int64_t i) { return value_of(last, i); });
  expect(from_next, [&](std::int64_t i) { return value_of(next + 7, i); });
}

TEST_P(CommunicatorTest, SeveralRequestsInFlightEndInAnyOrder) {
  const Tensor sum = filled(n_, [&](std::int64_t i) { return value_of(rank_, i); });
  const Tensor from_root = filled(n_, [&](std::int64_t i) { return rank_ == 0 ? value_of(5, i) : -1; });
  const Tensor gathered = allocate(n_ * ranks_);
  const Tensor mine = filled(n_, [&](std::int64_t i) { return value_of(rank_, i); });
  std::vector<Request> requests;
  requests.push_back(all_->all_reduce(sum, Reduction::sum));
  requests.push_back(all_->broadcast(from_root, 0));
  requests.push_back(all_->all_gather(mine, gathered));
  // Each rank waits in an order of its own.
  for (std::size_t i = 0; i < requests.size(); ++i)
    requests[(i + static_cast<std::size_t>(rank_)) % requests.size()].wait();
  expect(sum, [&](std::int64_t i) {
    double total = 0;
    for (int rank = 0; rank < ranks_; ++rank) total += value_of(rank, i);
    return total;
  });
  expect(from_root, [&](std::int64_t i) { return value_of(5, i); });
  expect(gathered, [&](std::int64_t i) { return value_of(static_cast<int>(i / n_), i % n_); });
}

std::vector<Case> every_type_and_size() {
  std::vector<Case> cases;
  for (const Through through : every_way)
    for (const DType type : {DType::f32, DType::bf16, DType::f64, DType::i32})
      for (const std::int64_t elements : {0, 1, 7, 1001, 300'000}) cases.push_back({through, type, elements});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(EveryTypeAndSize, CommunicatorTest, testing::ValuesIn(every_type_and_size()),
                         [](const auto& instance) {
                           return fmt::format("{}_{}_{}", name_of(instance.param.through), name_of(instance.param.type),
                                              instance.param.elements);
                         });

class Group : public RanksTest<Through> {
 protected:
  Group() : RanksTest(GetParam()) {}

  Tensor floats(std::int64_t elements, float value) {
    Tensor result = allocate_on_host(elements, DType::f32);
    for (float& one : result.values<float>()) one = value;
    return on_device(result);
  }
  std::vector<float> values(const Tensor& device) {
    const Tensor host = on_host(device);
    return {host.values<float>().begin(), host.values<float>().end()};
  }
  /// Numbers whose sum depends on the order of addition.
  Tensor uneven(std::int64_t elements, DType type) {
    Tensor result = allocate_on_host(elements, type);
    for (std::int64_t i = 0; i < elements; ++i) {
      const double value = std::sin(static_cast<double>(i * 7 + rank_)) * std::exp2((i + rank_ * 5) % 13);
      if (type == DType::f32) result.data<float>()[i] = static_cast<float>(value);
      if (type == DType::bf16) result.data<bfloat16>()[i] = to_bfloat16(static_cast<float>(value));
      if (type == DType::f64) result.data<double>()[i] = value;
    }
    return on_device(result);
  }
  bool same_bits(const Tensor& a, const Tensor& b) {
    const Tensor first = on_host(a);
    const Tensor second = on_host(b);
    return std::memcmp(first.raw(), second.raw(), first.bytes()) == 0;
  }
};

TEST_P(Group, ReductionsAreBitIdenticalOnAllRanksAndOnRepetition) {
  for (const DType type : {DType::f32, DType::bf16, DType::f64}) {
    for (const std::int64_t elements : {std::int64_t{3}, std::int64_t{300'001}}) {
      const Tensor first = uneven(elements, type);
      all_->all_reduce(first, Reduction::sum).wait();
      for (int repetition = 0; repetition < 3; ++repetition) {
        const Tensor again = uneven(elements, type);
        all_->all_reduce(again, Reduction::sum).wait();
        EXPECT_TRUE(same_bits(first, again)) << name_of(type) << " on repetition";
      }
      Tensor everyone = backend_->allocate({elements * ranks_}, type);
      all_->all_gather(first, everyone).wait();
      for (int rank = 0; rank < ranks_; ++rank)
        EXPECT_TRUE(same_bits(first, everyone.view(rank * elements, {elements})))
            << name_of(type) << " against rank " << rank;
    }
  }
}

TEST_P(Group, SumsDoNotDependOnTheLengthOfTheMessage) {
  if (nccl_) GTEST_SKIP() << "NCCL chooses its algorithm by length";
  const Tensor whole = uneven(300'001, DType::f32);
  const Tensor start = uneven(5, DType::f32);
  all_->all_reduce(whole, Reduction::sum).wait();
  all_->all_reduce(start, Reduction::sum).wait();
  EXPECT_TRUE(same_bits(start, whole));
}

TEST_P(Group, Bfloat16IsAddedInFloatAndRoundedToEven) {
  if (ranks_ == 1) GTEST_SKIP() << "nothing is added";
  Tensor summands = allocate_on_host(3, DType::bf16);
  const float on_rank[2][3] = {{256.0F, 258.0F, std::numeric_limits<float>::quiet_NaN()}, {1.0F, 1.0F, 1.0F}};
  for (std::size_t i = 0; i < 3; ++i) summands.data<bfloat16>()[i] = to_bfloat16(rank_ < 2 ? on_rank[rank_][i] : 0.0F);
  const Tensor buffer = on_device(summands);
  all_->all_reduce(buffer, Reduction::sum).wait();
  const Tensor sums = on_host(buffer);
  const auto values = sums.values<bfloat16>();
  EXPECT_EQ(to_float(values[0]), 256.0F);  // 257 lies between 256 and 258
  EXPECT_EQ(to_float(values[1]), 260.0F);  // 259 lies between 258 and 260
  EXPECT_TRUE(std::isnan(to_float(values[2])));
}

TEST_P(Group, MessagesLongerThanOnePiece) {
  constexpr std::int64_t elements = longest_message + 3;
  const Tensor buffer = floats(elements, static_cast<float>(rank_ + 1));
  all_->all_reduce(buffer, Reduction::sum).wait();
  const auto total = 0.5F * static_cast<float>(ranks_ * (ranks_ + 1));
  const std::vector<float> sums = values(buffer);
  EXPECT_EQ(std::count(sums.begin(), sums.end(), total), elements);

  if (rank_ == 0) backend_->cast(floats(1, -5), buffer.view(elements - 1, {1}));
  const Tensor copy = floats(elements, 0);
  const int next = (rank_ + 1) % ranks_;
  const int last = (rank_ + ranks_ - 1) % ranks_;
  const Transfer ring[] = {{Transfer::Direction::send, next, 0, buffer}, {Transfer::Direction::receive, last, 0, copy}};
  all_->exchange(ring).wait();
  EXPECT_EQ(values(copy).back(), last == 0 ? -5 : total);
  all_->broadcast(buffer, 0).wait();
  EXPECT_EQ(values(buffer).back(), -5);
}

TEST_P(Group, MessagesWithOneTagKeepTheirOrderAndTagsDoNotMix) {
  constexpr auto send = Transfer::Direction::send;
  constexpr auto receive = Transfer::Direction::receive;
  const int next = (rank_ + 1) % ranks_;
  const int last = (rank_ + ranks_ - 1) % ranks_;
  std::vector<Transfer> transfers;
  std::vector<Tensor> received;
  for (int message = 0; message < 8; ++message) {
    transfers.push_back({send, next, message % 2, floats(100, static_cast<float>(message))});
    received.push_back(floats(100, -1));
  }
  // All with tag 1 are expected before those with tag 0.
  for (const int tag : {1, 0})
    for (std::size_t i = 0; i < 4; ++i) transfers.push_back({receive, last, tag, received[i + (tag == 1 ? 0 : 4)]});
  all_->exchange(transfers).wait();
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(values(received[i])[99], static_cast<float>(2 * i + 1));
    EXPECT_EQ(values(received[i + 4])[99], static_cast<float>(2 * i));
  }
}

TEST_P(Group, ARequestKeepsItsTensorsAlive) {
  const auto bytes_in_use = [&] { return backend_->pool().statistics().bytes_in_use; };
  const std::size_t before = bytes_in_use();
  const Tensor result = floats(100'000, 0);
  const std::size_t block = bytes_in_use() - before;
  Exchange request = [&] {
    const Tensor mine = floats(100'000, static_cast<float>(rank_ + 1));
    const Transfer ring[] = {{Transfer::Direction::send, (rank_ + 1) % ranks_, 0, mine},
                             {Transfer::Direction::receive, (rank_ + ranks_ - 1) % ranks_, 0, result}};
    return all_->exchange(ring);
  }();
  // The pool would hand out the block of a tensor that nobody holds.
  const Tensor other = floats(100'000, -7);
  request.wait();
  EXPECT_EQ(values(result)[99'999], static_cast<float>((rank_ + ranks_ - 1) % ranks_ + 1));
  EXPECT_EQ(bytes_in_use(), before + 2 * block) << "a completed request still holds its tensors";
}

TEST_P(Group, ADestroyedRequestCompletesFirst) {
  const Tensor buffer = floats(100'000, 1);
  { const Request unwaited = all_->all_reduce(buffer, Reduction::sum); }
  const std::vector<float> sums = values(buffer);
  EXPECT_EQ(std::count(sums.begin(), sums.end(), static_cast<float>(ranks_)), 100'000);
}

TEST_P(Group, ARequestDroppedByAnExceptionDoesNotWait) {
  if (ranks_ == 1) GTEST_SKIP() << "nothing is under way";
  if (nccl_) GTEST_SKIP() << "a kernel that waits for ever would block the tests after this one";
  const Tensor never_sent = floats(10, 3);
  const auto fails_while_receiving = [&] {
    const Transfer receive[] = {{Transfer::Direction::receive, (rank_ + 1) % ranks_, 12345, never_sent}};
    const Exchange request = all_->exchange(receive);
    fail("on purpose");
  };
  EXPECT_THROW(fails_while_receiving(), Error);
}

TEST_P(Group, TestMakesProgress) {
  const Tensor buffer = floats(100'000, 1);
  Request request = all_->all_reduce(buffer, Reduction::sum);
  while (!request.test()) {
  }
  EXPECT_EQ(values(buffer)[0], static_cast<float>(ranks_));
  EXPECT_TRUE(request.test());
}

TEST_P(Group, FailsOnArgumentsThatDoNotFit) {
  EXPECT_THROW(all_->broadcast(floats(1, 0), ranks_), Error);
  EXPECT_THROW(all_->all_gather(floats(3, 0), floats(3 * ranks_ + 1, 0)), Error);
  EXPECT_THROW(all_->reduce_scatter(floats(3 * ranks_ + 1, 0), floats(3, 0)), Error);
  EXPECT_THROW(all_->all_to_all(floats(ranks_, 0), floats(2 * ranks_, 0)), Error);
  const Transfer stranger[] = {{Transfer::Direction::send, -1, 0, floats(1, 0)}};
  EXPECT_THROW(all_->exchange(stranger), Error);
}

TEST_P(Group, ErrorsOfMpiNameTheCallAndTheGroup) {
  if (ranks_ == 1 || nccl_) GTEST_SKIP() << "no MPI call is made";
  const Transfer bad_tag[] = {{Transfer::Direction::send, 0, -77, floats(1, 0)}};
  try {
    all_->exchange(bad_tag);
    FAIL() << "a negative tag was taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("MPI_Isend"), testing::HasSubstr("group world"),
                                             testing::HasSubstr("MPI_ERR_TAG")));
    EXPECT_EQ(error.rank(), rank_);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryWay, Group, testing::ValuesIn(every_way),
                         [](const auto& instance) { return name_of(instance.param); });

}  // namespace
}  // namespace trireme
