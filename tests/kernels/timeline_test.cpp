#include <chrono>

#include "tests/kernels/kernel_test.h"

namespace trireme {
namespace {

class TimelineTest : public KernelTest {};
TRIREME_KERNEL_CASES(TimelineTest);

TEST_P(TimelineTest, MarksAreInTheOrderOfTheWork) {
  const Tensor x = random({256, 256}, 1);
  const Tensor y = empty({256, 256});
  const auto timeline = backend().make_timeline();
  for (std::size_t mark = 0; mark < 4; ++mark) {
    if (mark > 0) backend().matmul({.a = x, .b = x, .out = y});
    timeline->mark(mark);
  }
  backend().synchronize();
  double sum = 0;
  for (std::size_t mark = 0; mark < 3; ++mark) {
    EXPECT_GE(timeline->seconds(mark, mark + 1), 0);
    sum += timeline->seconds(mark, mark + 1);
  }
  EXPECT_NEAR(timeline->seconds(0, 3), sum, 1e-5);
  EXPECT_LT(sum, 60);
}

TEST_P(TimelineTest, AReplayMarksAnew) {
  const Tensor x = random({256, 256}, 1);
  const Tensor y = empty({256, 256});
  const auto timeline = backend().make_timeline();
  const auto work = [&] {
    timeline->mark(0);
    backend().matmul({.a = x, .b = x, .out = y});
    timeline->mark(1);
  };
  work();
  const auto recording = backend().record(work);
  if (!recording) return;  // the CPU runs everything at once
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 2; ++i) {
    recording->replay();
    backend().synchronize();
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - begun;
    EXPECT_GE(timeline->seconds(0, 1), 0);
    EXPECT_LE(timeline->seconds(0, 1), since.count());
  }
}

}  // namespace
}  // namespace trireme
