// Trains a ResNet on one rank for a few steps, each of one microbatch of random images, and prints one line of JSON, as
// resnet50_pytorch.py does.
#include <array>
#include <boost/program_options.hpp>
#include <chrono>
#include <cstdio>
#include <random>

#include "comm/self_communicator.h"
#include "model/arch/resnet.h"
#include "model/optim/optimizer.h"
#include "model/pipeline/executor.h"
#include "tests/bench/benchmark.h"

namespace trireme::bench {
namespace {

struct Options {
  std::string device = "cpu", precision = "fp32";
  int threads = 2, steps = 5, warmup = 2, batch = 16;
  bool graph = true;
  ResnetConfig model{.depth = 50, .image_size = 224, .channels = 3, .classes = 1000};

  DType type() const { return precision == "bf16" ? DType::bf16 : DType::f32; }
};

Options parse(int count, char** words) {
  namespace po = boost::program_options;
  Options options;
  po::options_description known;
  known.add_options()("device", po::value(&options.device))("precision", po::value(&options.precision))(
      "threads", po::value(&options.threads))("steps", po::value(&options.steps))("warmup", po::value(&options.warmup))(
      "batch", po::value(&options.batch))("graph", po::value(&options.graph))("depth", po::value(&options.model.depth))(
      "image-size", po::value(&options.model.image_size));
  po::variables_map values;
  po::store(po::parse_command_line(count, words, known), values);
  po::notify(values);
  if (options.device != "cpu" && options.device != "cuda") refuse("--device={}: expected cpu or cuda", options.device);
  if (options.precision != "fp32" && options.precision != "bf16")
    refuse("--precision={}: expected fp32 or bf16", options.precision);
  return options;
}

class Training {
 public:
  explicit Training(const Options& options)
      : options_(options),
        backend_(options.device == "cuda" ? make_cuda_backend(0, {.tf32 = true}) : make_cpu_backend(options.threads)),
        self_(make_self_communicator("self", [this](const Tensor& from, Tensor to) { backend_->cast(from, to); })),
        stage_(build()),
        optimizer_(make_optimizer(*backend_, store_, *self_,
                                  {.kind = OptimizerKind::sgd, .weight_decay = 5e-5, .clip_norm = 0, .momentum = 0.9})),
        totals_(backend_->allocate({7}, DType::f64)),
        executor_(*backend_, StageGroups{*self_, *self_, *self_}, stage_, options.type(), make_gpipe(1, 1)) {
    const std::int64_t size = options.model.image_size;
    const Shape images{options.batch, size, size, options.model.channels};
    microbatch_.fields = {backend_->allocate(images, DType::u8), backend_->allocate({options.batch}, DType::i32)};
    images_.resize(static_cast<std::size_t>(images.elements()));
    classes_.resize(static_cast<std::size_t>(options.batch));
    std::uniform_int_distribution<int> pixel(0, 255);
    for (std::uint8_t& value : images_) value = static_cast<std::uint8_t>(pixel(random_));
    std::uniform_int_distribution<std::int32_t> any(0, options.model.classes - 1);
    for (std::int32_t& value : classes_) value = any(random_);
  }

  /// One step, images brought to the device included; returns the loss.
  double step() {
    backend_->upload(images_.data(), microbatch_.fields[0]);
    backend_->upload(classes_.data(), microbatch_.fields[1]);
    // As app/trainer.cpp does: the first run fills the pool and chooses algorithms, the second is recorded.
    if (steps_ > 0 && !recording_ && options_.graph) recording_ = backend_->record([this] { accumulate(); });
    if (recording_)
      recording_->replay();
    else
      accumulate();
    optimizer_->step(++steps_, 0.01, totals_.view(6, {1}), 1.0);
    std::array<double, 2> loss{};  // sum and count
    backend_->download(totals_.view(0, {2}), loss.data());
    return loss[0] / loss[1];
  }

  std::int64_t parameters() const {
    std::int64_t sum = 0;
    for (const Parameter& parameter : store_.parameters()) sum += parameter.trained() ? parameter.elements() : 0;
    return sum;
  }
  Backend& backend() { return *backend_; }

 private:
  Stage build() {
    Stage stage;
    const Build build{.store = store_};
    for (const Block& block : make_resnet(options_.model, options_.type()).blocks)
      stage.blocks.push_back(block.make(build));
    store_.allocate(*backend_, options_.type(), 1, TrainingState::first_moments);
    return stage;
  }
  void accumulate() {
    backend_->zero(totals_);
    const StepContext context{.loss_scale = 1.0F / static_cast<float>(options_.batch), .gradients_ready = nullptr};
    executor_.run(context, {&microbatch_, 1}, totals_.view(0, {3, 2}));
    optimizer_->add_gradient_norm_squared(totals_.view(6, {1}));
  }

  Options options_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> self_;
  ParameterStore store_;
  Stage stage_;
  std::unique_ptr<Optimizer> optimizer_;
  Tensor totals_;  ///< sums and counts of loss, top-1 and top-5, and the squared gradient norm
  PipelineExecutor executor_;
  Microbatch microbatch_;
  std::vector<std::uint8_t> images_;
  std::vector<std::int32_t> classes_;
  std::mt19937 random_{1};
  std::unique_ptr<Recording> recording_;
  std::int64_t steps_ = 0;
};

nlohmann::ordered_json measure(const Options& options) {
  Training training(options);
  std::vector<double> seconds, losses;
  for (int step = 0; step < options.warmup + options.steps; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    losses.push_back(training.step());
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (step >= options.warmup) seconds.push_back(taken.count());
  }
  return {{"implementation", "trireme"},
          {"device", training.backend().description()},
          {"precision", options.precision},
          {"threads", options.threads},
          {"depth", options.model.depth},
          {"image_size", options.model.image_size},
          {"batch", options.batch},
          {"parameters", training.parameters()},
          {"images_per_second", options.batch / median(seconds)},
          {"step_seconds", seconds},
          {"device_mib", static_cast<double>(training.backend().pool().statistics().bytes_held) * 0x1p-20},
          {"peak_rss_mib", peak_rss_mib()},
          {"first_loss", losses.front()},
          {"last_loss", losses.back()}};
}

}  // namespace
}  // namespace trireme::bench

int main(int count, char** words) {
  using namespace trireme::bench;
  return print_result("resnet50", [&] { return measure(parse(count, words)); });
}
