#include <gtest/gtest.h>

#include "comm/self_communicator.h"
#include "model/layers/build.h"
#include "model/optim/gradient_reducer.h"
#include "model/optim/learning_rate.h"
#include "model/optim/optimizer.h"

namespace trireme {
namespace {

TEST(LearningRate, WarmsUpAndDecays) {
  LearningRateSchedule schedule{.peak = 1.0, .minimum = 0.1, .warmup_steps = 10, .steps = 110};
  EXPECT_DOUBLE_EQ(schedule.at(1), 0.1);
  EXPECT_DOUBLE_EQ(schedule.at(10), 1.0);
  EXPECT_DOUBLE_EQ(schedule.at(60), 0.55) << "half-way of the cosine";
  EXPECT_NEAR(schedule.at(110), 0.1, 1e-15);
  EXPECT_NEAR(schedule.at(500), 0.1, 1e-15);
  schedule.decay = DecayKind::linear;
  EXPECT_DOUBLE_EQ(schedule.at(35), 0.775);
  schedule.decay = DecayKind::constant;
  EXPECT_DOUBLE_EQ(schedule.at(110), 1.0);
}

TEST(Adamw, DecaysOnlyWhatDeclaresItAndClearsGradients) {
  const auto backend = make_cpu_backend(1);
  ParameterStore store;
  const Build build{.store = store};
  Parameter* matrix = store.declare(build.replicated("matrix", {2, 2}, Initial::one(), true));
  Parameter* norm = store.declare(build.replicated("norm", {2}, Initial::one(), false));
  store.allocate(*backend, DType::f32, 1);
  for (float& g : matrix->gradient.values<float>()) g = 3.0F;
  Adamw optimizer(*backend, store, {.weight_decay = 0.5, .clip_norm = 1.0});
  Tensor norm_squared = backend->allocate({1}, DType::f64);
  backend->zero(norm_squared);
  optimizer.add_gradient_norm_squared(norm_squared);
  EXPECT_DOUBLE_EQ(*norm_squared.data<double>(), 36.0);
  optimizer.step(1, 0.1, norm_squared);
  // The first step of Adam moves every weight by the learning rate, whatever the gradient's size.
  for (const float value : matrix->value.values<float>()) EXPECT_NEAR(value, 1.0 - 0.1 * 0.5 - 0.1, 1e-5);
  for (const float value : norm->value.values<float>()) EXPECT_EQ(value, 1.0F);
  for (const float g : matrix->gradient.values<float>()) EXPECT_EQ(g, 0.0F);
}

/// Remembers which ranges of an arena were reduced.
class RecordingCommunicator final : public Communicator {
 public:
  explicit RecordingCommunicator(const float* arena) : arena_(arena) {}
  int rank() const override { return 0; }
  int size() const override { return 2; }
  const std::string& name() const override { return name_; }
  Request all_reduce(Tensor buffer, Reduction) override {
    ranges.emplace_back(buffer.data<float>() - arena_, buffer.elements());
    return {};
  }
  Request reduce_scatter(Tensor, Tensor) override { return {}; }
  Request all_gather(Tensor, Tensor) override { return {}; }
  Request broadcast(Tensor, int) override { return {}; }
  Request all_to_all(Tensor, Tensor) override { return {}; }
  Exchange exchange(std::span<const Transfer>) override { return {}; }
  void barrier() override {}

  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;

 private:
  const float* arena_;
  std::string name_ = "data";
};

TEST(GradientReducer, SendsBucketsFromTheEndAndEveryElementOnce) {
  const auto backend = make_cpu_backend(1);
  ParameterStore store;
  const Build build{.store = store};
  std::vector<std::int64_t> block_first;
  for (const char* name : {"a", "b", "c", "d"}) {
    block_first.push_back(store.elements());
    store.declare(build.replicated(name, {16}, Initial::zero(), false));
  }
  store.allocate(*backend, DType::f32, 1);
  RecordingCommunicator data(store.gradients.data<float>());
  GradientReducer reducer(data, store, block_first, 20);
  for (int step = 0; step < 2; ++step) {
    data.ranges.clear();
    reducer.block_ready(3);
    EXPECT_TRUE(data.ranges.empty()) << "16 elements do not fill a bucket of 20";
    reducer.block_ready(2);
    EXPECT_EQ(data.ranges, (std::vector<std::pair<std::int64_t, std::int64_t>>{{32, 32}}));
    reducer.block_ready(1);
    reducer.block_ready(0);
    reducer.finish();
    EXPECT_EQ(data.ranges, (std::vector<std::pair<std::int64_t, std::int64_t>>{{32, 32}, {0, 32}}));
  }
}

TEST(GradientReducer, SumsWhatIsTrackedAtTheEnd) {
  const auto backend = make_cpu_backend(1);
  ParameterStore store;
  const Build build{.store = store};
  store.declare(build.replicated("a", {16}, Initial::zero(), false));
  ParameterDeclaration tracked = build.replicated("b", {5}, Initial::zero(), false);
  tracked.update = Update::tracked;
  store.declare(tracked);
  store.allocate(*backend, DType::f32, 1);
  EXPECT_EQ(store.elements(), 16);
  RecordingCommunicator data(store.tracked_gradients.data<float>());
  GradientReducer reducer(data, store, {0});
  reducer.block_ready(0);
  EXPECT_TRUE(data.ranges.empty());
  reducer.finish();
  ASSERT_EQ(data.ranges.size(), 2U);
  EXPECT_EQ(data.ranges[1], (std::pair<std::int64_t, std::int64_t>{0, 16})) << "5 elements and their padding";
}

}  // namespace
}  // namespace trireme
