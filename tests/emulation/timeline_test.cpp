// Times of the device's queue, by the clock of the emulation.
#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "tests/emulation/emulation.h"

namespace trireme {
namespace {

TEST(CudaTimeline, TellsTheTimeOfWhatIsEnqueuedBetweenMarks) {
  const auto backend = make_cuda_backend(0);
  const auto timeline = backend->make_timeline();
  auto* const stream = static_cast<cudaStream_t>(backend->queue());
  double milliseconds = 3;
  const auto work = [&] {
    timeline->mark(0);
    emulation::enqueue(stream, [&] { emulation::advance_clock(milliseconds); });
    timeline->mark(1);
    emulation::enqueue(stream, [&] { emulation::advance_clock(2 * milliseconds); });
    timeline->mark(2);
  };
  const auto expect_times = [&] {
    backend->synchronize();
    EXPECT_NEAR(timeline->seconds(0, 1), milliseconds * 1e-3, 1e-9);
    EXPECT_NEAR(timeline->seconds(1, 2), 2 * milliseconds * 1e-3, 1e-9);
  };
  work();
  expect_times();
  const auto recording = backend->record(work);
  for (milliseconds = 5; milliseconds < 8; ++milliseconds) {
    recording->replay();
    expect_times();
  }
}

}  // namespace
}  // namespace trireme
