// trireme train
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "app/beginning.h"
#include "app/commands.h"
#include "app/doctor.h"
#include "app/metrics.h"
#include "app/monitor/monitor.h"
#include "app/monitor/nvml.h"
#include "app/options.h"
#include "app/pictures.h"
#include "app/progress.h"
#include "app/run_events.h"
#include "app/saves.h"
#include "app/stop_signal.h"
#include "app/time_limit.h"
#include "app/trainer.h"
#include "app/watchdog.h"
#include "io/checkpoint/agreement.h"
#include "io/mirror/object_store.h"
#include "kernels/activity.h"

namespace trireme {
namespace {

/// One training run of this process: the trainer, and what people and files see of it.
class Run {
 public:
  Run(const Configuration& configuration, World& world, Monitor& monitor)
      : configuration_(configuration),
        time_limit_(configuration.train.time_limit),
        events_(configuration.log.events),
        world_(world),
        monitor_(monitor),
        data_(open_data(configuration, configuration.data.train, "data.train")),
        session_(configuration, world, data_->tokenizer(), Session::Purpose::training) {
    if (!configuration.data.validation.empty()) {
      validation_ = open_data(configuration, configuration.data.validation, "data.validation");
      check_same_vocabulary();
    }
    prepare_directory();
    check_before_training(configuration, world, session_.parameter_count());
    beginning_ = begin_or_go_on(session_, events_);
    step_ = beginning_.step;
    trainer_ = std::make_unique<Trainer>(session_, *data_, step_);
    if (world.rank() == 0) {
      if (!configuration.log.metrics.empty())
        log_ = std::make_unique<MetricsLog>(configuration.log.metrics, step_, configuration.log.timing);
      progress_ =
          std::make_unique<Progress>(configuration.log, configuration.train.steps, std::cerr, stderr_is_terminal());
      progress_->on_warning([this](const std::string& text) { check_told(events_.alert(text, step_)); });
    }
    together(world.all(), [&] { pictures_ = std::make_unique<Pictures>(session_, step_); });
    if (!configuration.checkpoint.directory.empty())
      saves_ = std::make_unique<Saves>(session_, step_, log_.get(), progress_.get());
    announce();
    monitor_.begin(facts());
    if (progress_) check_told(events_.begin(step_, world.size(), facts(), configuration));
  }

  ExitStatus go() {
    if (!make_up_for_validation()) return stop_early();
    while (step_ < configuration_.train.steps) {
      const auto start = Clock::now();
      const StepResult result = trainer_->step([this] {
        pictures_->look_at_parameters(step_ + 1);
        return votes();
      });
      step_ = result.step;
      monitor_.step(result);
      if (saves_) saves_->advance(result.votes.saving);
      const bool last = step_ == configuration_.train.steps;
      const bool validates = validation_ && is_due(configuration_.train.validate_every, last);
      const auto validation = validates ? validate() : std::nullopt;
      report(result, validation.value_or(Measured{}));
      if (validates && !validation) return stop_early();
      if (validates) {
        pictures_->look_at_samples(step_, *validation_);
        monitor_.alive();
      }
      if (result.votes.stop && !last) return stop_early();
      if (saves_ && !last && (is_due(configuration_.checkpoint.every, false) || result.votes.save))
        saves_->begin(step_);
      longest_step_ = std::max(longest_step_, seconds_since(start));
    }
    if (saves_) saves_->finish(step_);
    if (log_) log_->sync();
    finish_mirror();
    if (progress_) check_told(events_.done(step_));
    return ExitStatus::done;
  }

  /// For a rank that fails while others may wait for it.
  void abandon() noexcept {
    if (trainer_ && trainer_->diverged()) monitor_.diverged(*trainer_->diverged());
    session_.abandon();
  }

 private:
  using Clock = std::chrono::steady_clock;

  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  Votes votes() const {
    return {.stop = asked_to_stop(), .save = saves_ && saves_->wants_retry(), .saving = saves_ && saves_->busy()};
  }

  /// Whether this rank knows of a reason to stop. Of the time, rank 0 is the judge.
  bool asked_to_stop() const {
    if (signal_.received()) return true;
    const auto left = world_.rank() == 0 ? time_limit_.left() : std::nullopt;
    const double needed = 1 + 1.5 * longest_step_ + (saves_ ? 1.5 * saves_->longest() : 0);
    return left && *left < needed;
  }

  /// An earlier life of the run may have stopped in the midst of the validation that its last step was due. False
  /// where that happens again.
  bool make_up_for_validation() {
    const bool lacks = log_ && log_->lacks_validation() && validation_ && step_ > 0 &&
                       is_due(configuration_.train.validate_every, step_ == configuration_.train.steps);
    if (!any_rank(world_.all(), lacks)) return true;
    const auto validation = validate();
    if (validation && log_) log_->amend(*validation);
    return validation.has_value();
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
    const auto& [directory, mirror] = std::tie(configuration_.checkpoint.directory, configuration_.checkpoint.mirror);
    if (directory.empty() && !mirror.empty())
      refuse("checkpoint.mirror: found no checkpoint.directory, expected the folder whose checkpoints are mirrored");
    if (directory.empty()) return;
    together(world_.all(), [&] {
      if (world_.rank() != 0) return;
      check_checkpoint_directory(directory);
      if (!mirror.empty()) mirror::make_object_store(mirror, {});
    });
  }

  void announce() {
    const std::int64_t parameters = session_.parameter_count();
    if (!progress_) return;
    const TrainOptions& train = configuration_.train;
    const double samples = static_cast<double>(train.steps) * train.global_batch;
    progress_->note(fmt::format("model       {} with {} parameters, {}", configuration_.arch,
                                format_count(static_cast<double>(parameters)), name_of(train.precision)));
    progress_->note(fmt::format("layout      {} ({}), {}", session_.layout().to_string(),
                                configuration_.parallel.schedule == ScheduleKind::gpipe ? "gpipe" : "1f1b",
                                session_.backend().description()));
    progress_->note(fmt::format("data        {} {}, {:.1f} passes over them in {} steps",
                                format_count(static_cast<double>(data_->size())), data_->unit(),
                                samples / static_cast<double>(trainer_->samples_in_a_pass()), train.steps));
    if (saves_)
      progress_->note(fmt::format("checkpoints {}, {}", configuration_.checkpoint.directory.string(),
                                  saves_->copy_bytes() > 0
                                      ? fmt::format("{}B a rank for the copy that is written while training goes on",
                                                    format_count(static_cast<double>(saves_->copy_bytes())))
                                      : "training waits while they are written"));
    if (const std::string address = monitor_.address(); !address.empty())
      progress_->note(fmt::format("monitor     http://{}/metrics, /healthz, /readyz", address));
    for (const std::string& line : beginning_.notes) progress_->note(line);
    if (!beginning_.resumed && saves_)
      progress_->note(configuration_.checkpoint.resume == "never" ? "begun       anew: checkpoint.resume=never"
                                                                  : "begun       anew: there is no checkpoint yet");
    if (step_ >= train.steps) progress_->note(fmt::format("train.steps={} are done: nothing left to do", train.steps));
  }

  /// For what is not in log.events.
  void check_told(bool told) {
    if (told || std::exchange(events_failed_, true)) return;
    progress_->warn(fmt::format("NOT WRITTEN log.events={}: it cannot be written", configuration_.log.events.string()));
  }

  /// For those who watch.
  RunFacts facts() {
    double flops = 0;  // of a sample's forward pass, on each rank of the tensor axis
    for (const Block& block : session_.architecture().blocks) flops += block.cost.forward_flops;
    constexpr int passes = 3;  // the backward pass has two products for each of the forward pass
    return {.arch = configuration_.arch,
            .layout = session_.layout().to_string(),
            .device = session_.backend().kind() == DeviceKind::cpu ? "cpu" : "cuda",
            .precision = name_of(configuration_.train.precision),
            .stage = session_.stage().index,
            .flops_per_step = passes * flops * session_.layout().tensor * configuration_.train.global_batch,
            .flops_a_second = peak_flops()};
  }

  /// FLOP/s of all devices together, where it is known.
  std::optional<double> peak_flops() {
    std::optional<double> one;
    if (configuration_.monitor.peak_flops > 0)
      one = configuration_.monitor.peak_flops;
    else if (session_.backend().kind() == DeviceKind::cuda && configuration_.train.precision == DType::bf16)
      one = peak_bf16_flops(session_.backend().description());
    if (one) *one *= world_.size();
    return one;
  }

  bool is_due(std::int64_t every, bool last) const { return last || (every > 0 && step_ % every == 0); }

  /// Nothing where it was interrupted by the wish to stop.
  std::optional<Measured> validate() {
    return evaluate(session_, *validation_, configuration_.train.validation_batches, [this] {
      monitor_.alive();
      return asked_to_stop();
    });
  }

  void report(const StepResult& result, const Measured& validation) {
    if (!progress_) return;
    const std::int64_t batch = configuration_.train.global_batch;
    const std::int64_t batch_tokens = batch * workload_of(configuration_).tokens_per_sample(configuration_);
    const StepMetrics metrics{
        .step = result.step,
        .loss = result.loss,
        .grad_norm = result.gradient_norm,
        .learning_rate = result.learning_rate,
        .samples = result.samples,
        .tokens = result.step * batch_tokens,
        .step_seconds = result.seconds,
        .per_second = static_cast<double>(batch_tokens > 0 ? batch_tokens : batch) / result.seconds,
        .data_wait_seconds = result.data_wait_seconds,
        .checkpoint_stall_seconds = saves_ ? saves_->take_stall() : 0.0,
        .validation = validation};
    if (log_) write(metrics);
    monitor_.report(metrics);
    if (saves_) monitor_.saves(saves_->tally());
    pictures_->step(metrics);
    if (const auto trouble = pictures_->take_trouble())
      progress_->warn(fmt::format("NOT DRAWN   log.tensorboard and log.visualdl get no more: {}", *trouble));
    progress_->step(metrics);
    if (!validation.empty())
      progress_->note(fmt::format("step {}  validation {}", result.step,
                                  format_measured(session_.architecture().metrics, validation)));
  }

  void write(const StepMetrics& metrics) {
    const bool waited = log_->waiting();
    log_->write(metrics);
    if (!waited && log_->waiting())
      progress_->warn(fmt::format("NOT WRITTEN step {}: '{}' cannot be written now; its lines wait in memory",
                                  metrics.step, configuration_.log.metrics.string()));
  }

  ExitStatus stop_early() {
    if (saves_) saves_->finish(step_);
    const char* why = signal_.received() || !time_limit_.left() ? "on request" : "ahead of the time limit";
    if (progress_)
      progress_->note(fmt::format(
          "stopped     after step {} {}; {}", step_, why,
          saves_ ? "the same command goes on from there" : "checkpoint.directory is not set: nothing is saved"));
    finish_mirror();
    if (progress_) check_told(events_.stopped(step_, why));
    return saves_ ? ExitStatus::stopped_early : ExitStatus::failed;
  }

  void finish_mirror() {
    constexpr double for_the_end_of_the_process = 5;
    const auto left = time_limit_.left();
    if (saves_) saves_->finish_mirror(left ? *left - for_the_end_of_the_process : 1e6);
  }

  const StopSignal signal_;
  Configuration configuration_;
  const TimeLimit time_limit_;
  const RunEvents events_;
  World& world_;
  Monitor& monitor_;
  std::shared_ptr<DataSet> data_, validation_;
  Session session_;
  std::int64_t step_ = 0;
  Beginning beginning_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<MetricsLog> log_;     ///< on rank 0
  std::unique_ptr<Progress> progress_;  ///< on rank 0
  std::unique_ptr<Pictures> pictures_;
  std::unique_ptr<Saves> saves_;  ///< null where nothing is to be saved
  bool events_failed_ = false;    ///< which was told
  double longest_step_ = 0;       ///< seconds, with validation and what a save made it wait
};

}  // namespace

ExitStatus run_train(const Configuration& configuration, World& world) {
  const Watchdog watchdog(
      world,
      {.limit = configuration.train.watchdog,
       .name = "train.watchdog",
       .noticed = [events = RunEvents(configuration.log.events)](const std::string& what) { events.alert(what); },
       .expired = {}});
  const Activity activity("training");
  Monitor monitor(world, configuration);
  auto run = std::make_unique<Run>(configuration, world, monitor);
  try {
    return run->go();
  } catch (...) {
    run->abandon();
    // Not taken apart: its threads and its peers may still be using what it holds, and the process ends anyway.
    [[maybe_unused]] const Run* left_behind = run.release();
    throw;
  }
}

}  // namespace trireme
