#include "app/recorded_steps.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

/// Counts what a device would do.
struct Device {
  int recorded = 0, replayed = 0, ran = 0;

  RecordedSteps::Record record() {
    return [this](const RecordedSteps::Work&) {
      class Replays final : public Recording {
       public:
        explicit Replays(int& count) : count_(count) {}
        void replay() override { ++count_; }

       private:
        int& count_;
      };
      ++recorded;
      return std::make_unique<Replays>(replayed);
    };
  }
  std::vector<Microbatch>& step(RecordedSteps& steps, std::int64_t width) {
    std::vector<Microbatch>& place = steps.place({{"image", DType::f32, {8, width, 1}}, {"label", DType::i32, {}}});
    steps.run([this] { ++ran; });
    return place;
  }
};

TEST(RecordedSteps, EachShapeIsRecordedOnceAndReplayedFromThenOn) {
  Device device;
  RecordedSteps steps(device.record());
  for (int pass = 0; pass < 5; ++pass)
    for (const std::int64_t width : {32, 64, 32, 96}) device.step(steps, width);
  EXPECT_EQ(device.ran, 3) << "the first time of each";
  EXPECT_EQ(device.recorded, 3);
  EXPECT_EQ(device.replayed, 20 - 3);
}

TEST(RecordedSteps, BatchesOfOneShapeHaveOnePlace) {
  Device device;
  RecordedSteps steps(device.record());
  std::vector<Microbatch>& narrow = device.step(steps, 32);
  std::vector<Microbatch>& wide = device.step(steps, 64);
  EXPECT_NE(&narrow, &wide);
  EXPECT_EQ(&device.step(steps, 32), &narrow);
  EXPECT_EQ(&device.step(steps, 64), &wide);
}

TEST(RecordedSteps, TheirNumberIsBounded) {
  Device device;
  RecordedSteps steps(device.record());
  constexpr int shapes = static_cast<int>(RecordedSteps::most) + 3, passes = 4;
  for (int pass = 0; pass < passes; ++pass)
    for (int width = 1; width <= shapes; ++width) device.step(steps, width);
  constexpr int most = static_cast<int>(RecordedSteps::most);
  EXPECT_EQ(device.recorded, most);
  EXPECT_EQ(device.ran, most + 3 * passes) << "what is beyond runs each time";
  EXPECT_EQ(device.replayed, most * (passes - 1));
  EXPECT_EQ(&device.step(steps, shapes), &device.step(steps, shapes - 1)) << "in one place";
}

TEST(RecordedSteps, WithoutADeviceThatRecordsEveryStepRuns) {
  Device device;
  RecordedSteps steps({});
  for (int pass = 0; pass < 3; ++pass)
    for (const std::int64_t width : {32, 64}) device.step(steps, width);
  EXPECT_EQ(device.ran, 6);
  RecordedSteps cannot([](const RecordedSteps::Work&) { return std::unique_ptr<Recording>(); });
  for (int pass = 0; pass < 3; ++pass) device.step(cannot, 32);
  EXPECT_EQ(device.ran, 9);
}

}  // namespace
}  // namespace trireme
