// Runs on a GPU beside those on the CPU.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/backend.h"
#include "tests/app/training_support.h"

namespace trireme::test {

/// `Data`: a TrainingTest with data and a configuration.
template <typename Data>
class CudaRuns : public Data {
 protected:
  using Metrics = std::vector<nlohmann::json>;

  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  }
  Metrics train_on(const std::string& device, const Layout& layout, int steps, const std::string& name,
                   const std::string& more = "") {
    return this->train(layout, steps, name, "--train.device=" + device + " " + more);
  }
  /// Devices add in another order, so they agree to rounding, which a few steps make larger.
  static void expect_same_run(const Metrics& found, const Metrics& wanted, double within = 1e-4) {
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const double loss = wanted[i]["loss"];
      const double norm = wanted[i]["grad_norm"];
      EXPECT_NEAR(found[i]["loss"], loss, within * loss) << "step " << i + 1;
      EXPECT_NEAR(found[i]["grad_norm"], norm, 10 * within * norm) << "step " << i + 1;
    }
  }
};

}  // namespace trireme::test
