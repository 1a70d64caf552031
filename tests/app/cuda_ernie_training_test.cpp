// ERNIE on a GPU: the run of the CPU.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/backend.h"
#include "tests/app/ernie_support.h"

namespace trireme {
namespace {

/// Pre-training and fine-tuning on a GPU.
class CudaErnieTraining : public test::ErnieTraining {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  }
  /// Devices add in another order.
  static void expect_same_run(const std::vector<nlohmann::json>& found, const std::vector<nlohmann::json>& wanted) {
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i)
      for (const auto& [key, value] : wanted[i].items())
        if (key == "loss" || key == "grad_norm" || key.starts_with("validation_")) {
          EXPECT_NEAR(found[i].at(key), value, 1e-3 * std::abs(value.get<double>())) << key << ", step " << i + 1;
        }
  }
};

TEST_F(CudaErnieTraining, PretrainingAndFineTuningAreTheRunsOfTheCpu) {
  const auto run = [&](const std::string& device, const std::string& name, const std::string& more) {
    return train({1, 1, 1}, 2, name + device,
                 "--train.device=" + device + " --train.micro_batch=4 " + more + checkpoints(name + device));
  };
  const auto validate = [](const std::string& data) { return "--data.validation=" + at(data) + " "; };
  expect_same_run(run("cuda", "pretrained", ""), run("cpu", "pretrained", ""));
  for (const std::string of : {"texts", "tokens"}) {
    SCOPED_TRACE(of);
    pack_labels(of == "texts" ? "texts.tsv" : "tokens.conll", of);
    const std::string tune = "--data.train=" + at(of + ".h5") +
                             " --train.init=" + (folder_ / "pretrainedcpu").string() + " " + validate(of + ".h5");
    expect_same_run(run("cuda", of, tune), run("cpu", of, tune));
  }
}

}  // namespace
}  // namespace trireme
