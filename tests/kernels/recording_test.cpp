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

}  // namespace
}  // namespace trireme
