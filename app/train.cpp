// trireme train
#include <chrono>
#include <iostream>
#include <memory>
#include <optional>

#include "app/commands.h"
#include "app/metrics.h"
#include "app/progress.h"
#include "app/stop_signal.h"
#include "app/trainer.h"
#include "io/checkpoint/agreement.h"

namespace trireme {
namespace {

/// One training run of this process: the trainer, and what people and files see of it.
class Run {
 public:
  Run(const Configuration& configuration, World& world)
      : configuration_(configuration),
        world_(world),
        data_(open(configuration.data.train, "data.train")),
        session_(configuration, world, data_->tokenizer(), Session::Purpose::training) {
    if (!configuration.data.validation.empty()) {
      validation_ = open(configuration.data.validation, "data.validation");
      check_same_vocabulary();
    }
    prepare_directory();
    resume();
    trainer_ = std::make_unique<Trainer>(session_, data_, step_);
    if (world.rank() == 0) {
      if (!configuration.log.metrics.empty()) log_ = std::make_unique<MetricsLog>(configuration.log.metrics, step_);
      progress_ =
          std::make_unique<Progress>(configuration.log, configuration.train.steps, std::cerr, stderr_is_terminal());
    }
    announce();
  }

  ExitStatus go() {
    try {
      return steps();
    } catch (...) {
      session_.abandon();
      throw;
    }
  }

 private:
  ExitStatus steps() {
    const StopSignal signal;
    while (step_ < configuration_.train.steps) {
      const StepResult result = trainer_->step(signal.received());
      step_ = result.step;
      const bool last = step_ == configuration_.train.steps;
      report(result, is_due(configuration_.train.validate_every, last) && validation_ ? validate() : std::nullopt);
      if (result.stop && !last) return stop_early();
      if (is_due(static_cast<int>(configuration_.checkpoint.every), last)) save();
    }
    return ExitStatus::done;
  }

  static std::shared_ptr<TokenDataset> open(const std::vector<std::filesystem::path>& files, const char* key) {
    if (files.empty()) refuse("{} is not set; it names the data sets that 'trireme pack' made", key);
    return std::make_shared<TokenDataset>(files);
  }

  void check_same_vocabulary() const {
    const TokenizerBlob& wanted = data_->tokenizer();
    const TokenizerBlob& found = validation_->tokenizer();
    if (found.kind != wanted.kind || found.model != wanted.model)
      refuse(
          "data.validation={} has another tokenizer ({}, {} tokens) than data.train ({}, {} tokens); pack both in one "
          "'trireme pack' with --validation-output",
          configuration_.data.validation.front().string(), found.kind, found.vocabulary, wanted.kind,
          wanted.vocabulary);
  }

  void prepare_directory() {
    const auto& directory = configuration_.checkpoint.directory;
    if (directory.empty()) return;
    together(world_.all(), [&] {
      if (world_.rank() == 0) check_checkpoint_directory(directory);
    });
  }

  void resume() {
    const auto folder = find_checkpoint(configuration_.checkpoint, world_);
    if (folder.empty()) return;
    CheckpointReader reader(folder);
    const CheckpointInfo& info = reader.info();
    if (info.seed != configuration_.train.seed)
      refuse("train.seed={}, but {} was made with {}: go on with that seed, or start anew with checkpoint.resume=never",
             configuration_.train.seed, folder.string(), info.seed);
    if (info.samples != info.step * configuration_.train.global_batch)
      refuse("train.global_batch={}, but {} consumed {} samples in {} steps: go on with a global batch of {}",
             configuration_.train.global_batch, folder.string(), info.samples, info.step, info.samples / info.step);
    session_.load(reader);
    step_ = info.step;
    resumed_from_ = folder;
  }

  void announce() {
    const std::int64_t parameters = session_.parameter_count();
    if (!progress_) return;
    const TrainOptions& train = configuration_.train;
    const double tokens = static_cast<double>(train.steps) * train.global_batch * configuration_.model.context;
    progress_->note(fmt::format("model       {} with {} parameters, {}", configuration_.arch,
                                format_count(static_cast<double>(parameters)), name_of(train.precision)));
    progress_->note(fmt::format("layout      {} ({}), {}", session_.layout().to_string(),
                                configuration_.parallel.schedule == ScheduleKind::gpipe ? "gpipe" : "1f1b",
                                session_.backend().description()));
    progress_->note(fmt::format("data        {} tokens, {:.1f} passes over them in {} steps",
                                format_count(static_cast<double>(data_->tokens())),
                                tokens / static_cast<double>(data_->tokens()), train.steps));
    if (!resumed_from_.empty())
      progress_->note(fmt::format("resumed     step {} from {}", step_, resumed_from_.string()));
    if (step_ >= train.steps) progress_->note(fmt::format("train.steps={} are done: nothing left to do", train.steps));
  }

  bool is_due(int every, bool last) const { return last || (every > 0 && step_ % every == 0); }

  std::optional<double> validate() { return evaluate(session_, validation_, configuration_.train.validation_batches); }

  void report(const StepResult& result, std::optional<double> validation_loss) {
    if (!progress_) return;
    const std::int64_t batch_tokens = std::int64_t{configuration_.train.global_batch} * configuration_.model.context;
    const StepMetrics metrics{.step = result.step,
                              .loss = result.loss,
                              .grad_norm = result.gradient_norm,
                              .learning_rate = result.learning_rate,
                              .samples = result.samples,
                              .tokens = result.step * batch_tokens,
                              .step_seconds = result.seconds,
                              .tokens_per_second = static_cast<double>(batch_tokens) / result.seconds,
                              .data_wait_seconds = result.data_wait_seconds,
                              .checkpoint_stall_seconds = std::exchange(stall_seconds_, 0.0),
                              .validation_loss = validation_loss};
    if (log_) log_->write(metrics);
    progress_->step(metrics);
    if (validation_loss)
      progress_->note(fmt::format("step {}  validation loss {:.4f} nats a token", result.step, *validation_loss));
  }

  void save() {
    if (configuration_.checkpoint.directory.empty()) return;
    const auto start = std::chrono::steady_clock::now();
    const auto folder = session_.save(step_, step_ * configuration_.train.global_batch);
    stall_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (progress_) progress_->note(fmt::format("saved       {} in {:.2f} s", folder.string(), stall_seconds_));
  }

  ExitStatus stop_early() {
    save();
    if (progress_)
      progress_->note(
          configuration_.checkpoint.directory.empty()
              ? fmt::format("stopped after step {} on request; checkpoint.directory is not set: nothing is "
                            "saved",
                            step_)
              : fmt::format("stopped after step {} on request; the same command goes on from there", step_));
    return configuration_.checkpoint.directory.empty() ? ExitStatus::failed : ExitStatus::stopped_early;
  }

  Configuration configuration_;
  World& world_;
  std::shared_ptr<TokenDataset> data_, validation_;
  Session session_;
  std::int64_t step_ = 0;
  std::filesystem::path resumed_from_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<MetricsLog> log_;     ///< on rank 0
  std::unique_ptr<Progress> progress_;  ///< on rank 0
  double stall_seconds_ = 0;            ///< of the last save; told with the step after it
};

}  // namespace

ExitStatus run_train(const Configuration& configuration, World& world) { return Run(configuration, world).go(); }

}  // namespace trireme
