// Trains GPT-2 on one rank for a few steps, each of one microbatch, and prints one line of JSON, as gpt2_pytorch.py
// does.
#include "tests/bench/gpt2.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <random>

#include "comm/self_communicator.h"
#include "model/optim/optimizer.h"
#include "model/pipeline/executor.h"
#include "tests/bench/benchmark.h"

namespace trireme::bench {
namespace {

class Training {
 public:
  explicit Training(const Options& options)
      : options_(options),
        backend_(options.make_backend()),
        self_(make_self_communicator("self", [this](const Tensor& from, Tensor to) { backend_->cast(from, to); })),
        stage_(build()),
        optimizer_(*backend_, store_, {}),
        totals_(backend_->allocate({3}, DType::f64)) {
    resize(options.micro_batch);
  }

  /// From now on a step is one microbatch of that many samples.
  void resize(std::int64_t samples) {
    recording_.reset();
    microbatch_ = {};
    executor_ = std::make_unique<PipelineExecutor>(*backend_, StageGroups{*self_, *self_, *self_}, stage_,
                                                   options_.type(), make_gpipe(1, 1));
    backend_->zero(store_.gradients);
    backend_->synchronize();
    backend_->pool().trim();
    const Shape shape{samples, options_.context};
    microbatch_.fields = {backend_->allocate(shape, DType::i32), backend_->allocate(shape, DType::i32)};
    tokens_.resize(static_cast<std::size_t>(shape.elements()));
    has_run_ = false;
  }

  void draw_tokens() {
    std::uniform_int_distribution<std::int32_t> any(0, vocabulary - 1);
    for (std::int32_t& token : tokens_) token = any(random_);
  }

  /// One step on the tokens drawn; returns the loss.
  double step() {
    backend_->upload(tokens_.data(), microbatch_.fields[0]);
    backend_->upload(tokens_.data(), microbatch_.fields[1]);
    // As app/trainer.cpp does: the first run fills the pool and chooses algorithms, the second is recorded.
    if (has_run_ && !recording_ && options_.graph) recording_ = backend_->record([this] { accumulate(); });
    has_run_ = true;
    if (recording_)
      recording_->replay();
    else
      accumulate();
    optimizer_.step(++steps_, 6e-4, totals_.view(2, {1}));
    std::array<double, 2> loss{};  // sum and count
    backend_->download(totals_.view(0, {2}), loss.data());
    if (!recording_) held_ = backend_->pool().statistics().bytes_held;
    return loss[0] / loss[1];
  }

  std::int64_t parameters() const {
    std::int64_t sum = 0;
    for (const Parameter& parameter : store_.parameters()) sum += parameter.elements();
    return sum;
  }
  Backend& backend() { return *backend_; }
  /// Of the device, without what a recording holds beyond the step that it recorded.
  double device_mib() const { return static_cast<double>(held_) * 0x1p-20; }

 private:
  Stage build() {
    Stage stage;
    const Build build{.store = store_};
    for (const Block& block : make_gpt(options_.gpt2().config(), 1, options_.type()).blocks)
      stage.blocks.push_back(block.make(build));
    store_.allocate(*backend_, options_.type(), 1);
    return stage;
  }
  /// Forward and backward pass; leaves loss and squared gradient norm in totals_.
  void accumulate() {
    backend_->zero(totals_);
    const StepContext context{.loss_scale = 1.0F / static_cast<float>(tokens_.size()), .gradients_ready = nullptr};
    executor_->run(context, {&microbatch_, 1}, totals_.view(0, {1, 2}));
    optimizer_.add_gradient_norm_squared(totals_.view(2, {1}));
  }

  Options options_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> self_;
  ParameterStore store_;
  Stage stage_;
  Adamw optimizer_;
  Tensor totals_;  ///< sum and count of losses, squared gradient norm
  std::unique_ptr<PipelineExecutor> executor_;
  Microbatch microbatch_;
  std::vector<std::int32_t> tokens_;
  std::mt19937 random_{1};
  bool has_run_ = false;
  std::unique_ptr<Recording> recording_;
  std::size_t held_ = 0;
  std::int64_t steps_ = 0;
};

/// 128, 96, 64, 48, 32, ...: the largest of these that fits, and is not larger than asked for. Every try takes the two
/// steps after which nothing more is allocated.
std::int64_t largest_that_fits(Training& training, std::int64_t samples) {
  for (;;) {
    try {
      training.resize(samples);
      training.draw_tokens();
      for (int i = 0; i < 2; ++i) training.step();
      return samples;
    } catch (const Error& error) {
      fmt::print(stderr, "gpt2: micro-batch {}: {}\n", samples, error.what());
      if (samples == 1) throw;
      const bool power_of_two = (samples & (samples - 1)) == 0;
      samples = power_of_two && samples > 2 ? samples * 3 / 4 : samples * 2 / 3;
    }
  }
}

nlohmann::ordered_json measure(Options options) {
  Training training(options);
  if (options.fit) options.micro_batch = largest_that_fits(training, options.micro_batch);
  std::vector<double> seconds, losses;
  for (int step = 0; step < options.warmup + options.steps; ++step) {
    training.draw_tokens();
    const auto begin = std::chrono::steady_clock::now();
    losses.push_back(training.step());
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (step >= options.warmup) seconds.push_back(taken.count());
  }
  const double speed = static_cast<double>(options.step_tokens()) / median(seconds);
  const double flops = Flops::per_token(options.gpt2(), training.parameters(), options.context);
  const std::string device = training.backend().description();
  nlohmann::ordered_json result = {{"implementation", "trireme"},
                                   {"size", options.size},
                                   {"device", device},
                                   {"precision", options.precision},
                                   {"threads", options.threads},
                                   {"micro_batch", options.micro_batch},
                                   {"context", options.context},
                                   {"parameters", training.parameters()},
                                   {"tokens_per_second", speed},
                                   {"step_seconds", seconds},
                                   {"flops_formula", Flops::formula},
                                   {"flops_per_token", flops},
                                   {"model_tflops", 1e-12 * flops * speed},
                                   {"peak_rss_mib", peak_rss_mib()},
                                   {"first_loss", losses.front()},
                                   {"last_loss", losses.back()}};
  if (options.device == "cuda") {
    result["deterministic"] = options.deterministic;
    result["device_mib"] = training.device_mib();
    if (const double peak = data_sheet_tflops(device); peak > 0) result["data_sheet_tflops"] = peak;
  }
  return result;
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  using namespace trireme::bench;
  return print_result("gpt2", [&] { return measure(parse(argc, argv)); });
}
