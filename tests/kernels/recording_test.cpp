#include "tests/kernels/kernel_test.h"

namespace trireme {
namespace {

class RecordedWork : public KernelTest {};
TRIREME_KERNEL_CASES(RecordedWork);

TEST_P(RecordedWork, RunsWhenReplayedAndOnlyThen) {
  const Tensor one = tensor_of({4}, type(), Values(4, 1.0));
  Tensor sum = tensor_of({4}, type(), Values(4, 0.0));
  const auto work = [&] {
    const Tensor copy = backend().allocate({4}, type());
    backend().cast(one, copy);
    backend().add(sum, copy, sum);
  };
  const auto recording = backend().record(work);
  expect_close(sum, Values(4, 0.0));
  if (GetParam().device == DeviceKind::cpu) {
    EXPECT_EQ(recording, nullptr) << "the CPU runs everything at once";
    return;
  }
  ASSERT_NE(recording, nullptr);
  const auto before = backend().pool().statistics();
  for (int times = 1; times <= 3; ++times) {
    recording->replay();
    expect_close(sum, Values(4, times));
  }
  EXPECT_EQ(backend().pool().statistics().bytes_in_use, before.bytes_in_use) << "it has memory of its own";
}

/// Work of several shapes, as batches of lines make it: what one recording has held, the next takes.
TEST_P(RecordedWork, RecordingsShareTheirMemory) {
  if (GetParam().device == DeviceKind::cpu) return;  // it records nothing
  std::vector<std::unique_ptr<Recording>> recordings;
  std::vector<Tensor> ones, sums;
  std::vector<std::size_t> held;
  for (const std::int64_t size : {3000, 1000, 2000}) {
    const Tensor one = ones.emplace_back(tensor_of({size}, type(), Values(static_cast<std::size_t>(size), 1.0)));
    const Tensor sum = sums.emplace_back(tensor_of({size}, type(), Values(static_cast<std::size_t>(size), 0.0)));
    recordings.push_back(backend().record([&, one, sum] {
      const Tensor copy = backend().allocate({size}, type());
      backend().cast(one, copy);
      backend().add(sum, copy, sum);
      held.push_back(backend().pool().statistics().bytes_held);
    }));
  }
  EXPECT_EQ(held, std::vector<std::size_t>(3, held.front()));
  for (int times = 1; times <= 2; ++times)
    for (const auto& recording : recordings) recording->replay();
  for (const Tensor& sum : sums) expect_close(sum, Values(static_cast<std::size_t>(sum.elements()), 2.0));
}

}  // namespace
}  // namespace trireme
