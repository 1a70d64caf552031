// Trains GPT-2 124M on one rank for a few steps and prints one line of JSON, as gpt2_pytorch.py does.
#include "tests/bench/gpt2_124m.h"

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "comm/self_communicator.h"
#include "model/optim/optimizer.h"
#include "model/pipeline/executor.h"

namespace trireme::bench {
namespace {

class Training {
 public:
  explicit Training(const Options& options)
      : backend_(make_cpu_backend(options.threads)),
        self_(make_self_communicator("self")),
        stage_(build(options.type())),
        executor_(*backend_, *self_, *self_, stage_, options.type(), make_gpipe(1, 1)),
        optimizer_(*backend_, store_, {}),
        totals_(backend_->allocate({2}, DType::f64)) {}

  /// One step on random tokens; returns the loss.
  double step() {
    backend_->zero(totals_);
    const Microbatch microbatch{tokens(), tokens(), 0};
    const StepContext context{.loss_scale = 1.0F / static_cast<float>(step_tokens), .gradients_ready = nullptr};
    executor_.run(context, {&microbatch, 1}, totals_.view(0, {1}));
    optimizer_.add_gradient_norm_squared(totals_.view(1, {1}));
    optimizer_.step(++steps_, 6e-4, totals_.view(1, {1}));
    double loss = 0;
    backend_->download(totals_.view(0, {1}), &loss);
    return loss;
  }

  std::int64_t parameters() const {
    std::int64_t sum = 0;
    for (const Parameter& parameter : store_.parameters()) sum += parameter.elements();
    return sum;
  }

 private:
  Stage build(DType type) {
    Stage stage;
    const Build build{.store = store_};
    for (const Block& block : make_gpt(gpt2_124m(), 1, type).blocks) stage.blocks.push_back(block.make(build));
    store_.allocate(*backend_, type, 1);
    return stage;
  }
  Tensor tokens() {
    Tensor tensor = backend_->allocate({samples, sample_tokens}, DType::i32);
    std::uniform_int_distribution<std::int32_t> any(0, gpt2_124m().vocabulary - 1);
    for (std::int32_t& token : tensor.values<std::int32_t>()) token = any(random_);
    return tensor;
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> self_;
  ParameterStore store_;
  Stage stage_;
  PipelineExecutor executor_;
  Adamw optimizer_;
  Tensor totals_;  ///< loss, squared gradient norm
  std::mt19937 random_{1};
  std::int64_t steps_ = 0;
};

void run(const Options& options) {
  Training training(options);
  std::vector<double> seconds, losses;
  for (int step = 0; step < options.warmup + options.steps; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    losses.push_back(training.step());
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (step >= options.warmup) seconds.push_back(taken.count());
  }
  const nlohmann::ordered_json result = {{"implementation", "trireme"},
                                         {"precision", options.precision},
                                         {"threads", options.threads},
                                         {"parameters", training.parameters()},
                                         {"tokens_per_second", static_cast<double>(step_tokens) / median(seconds)},
                                         {"step_seconds", seconds},
                                         {"peak_rss_mib", peak_rss_mib()},
                                         {"first_loss", losses.front()},
                                         {"last_loss", losses.back()}};
  fmt::print("{}\n", result.dump());
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  try {
    trireme::bench::run(trireme::bench::parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "gpt2_124m: {}\n", error.what());
    return 1;
  }
}
