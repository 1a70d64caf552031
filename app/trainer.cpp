#include "app/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "io/checkpoint/agreement.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::shared_ptr<Source> source_of(Session& session, DataSet& data, bool training) {
  const TrainOptions& train = session.configuration().train;
  return data.source(session.configuration(),
                     {.global_batch = train.global_batch, .seed = train.seed, .training = training});
}

int microbatches_per_step(Session& session) {
  const TrainOptions& train = session.configuration().train;
  return train.global_batch / train.micro_batch / session.layout().data;
}

/// What steps are recorded with, where they can be.
RecordedSteps::Record recorder(Session& session) {
  if (!session.can_record()) return {};
  return [&backend = session.backend()](const std::function<void()>& work) { return backend.record(work); };
}

/// Means of sums and counts, by name.
Measured means(const std::vector<Metric>& metrics, std::span<const double> sums) {
  Measured result;
  for (std::size_t i = 0; i < metrics.size(); ++i) result.emplace_back(metrics[i].name, sums[2 * i] / sums[2 * i + 1]);
  return result;
}

}  // namespace

Trainer::Trainer(Session& session, DataSet& data, std::int64_t steps_done)
    : session_(session),
      learning_rate_{.peak = session.configuration().optimizer.learning_rate,
                     .minimum = session.configuration().optimizer.min_learning_rate,
                     .warmup_steps = session.configuration().optimizer.warmup_steps,
                     .steps = session.configuration().train.steps,
                     .decay = session.configuration().optimizer.decay},
      source_(source_of(session, data, true)),
      feed_(session, source_, steps_done),
      executor_(session.backend(), session.stage_groups(), session.stage(), session.type(),
                make_schedule(session.configuration().parallel.schedule, session.layout().pipeline,
                              microbatches_per_step(session))),
      reducer_(session.data(), session.store(), session.block_first()),
      optimizer_(make_optimizer(session.backend(), session.store(), session.tensor(),
                                session.configuration().optimizer.rule())),
      expected_targets_(session.configuration().train.global_batch * session.architecture().targets_per_sample),
      metrics_(static_cast<std::int64_t>(session.architecture().metrics.size())),
      totals_(session.backend().allocate({2 * metrics_ + 1}, DType::f64)),
      sums_(host_memory_, {2 * metrics_ + 4}, DType::f64),
      recorded_(recorder(session)),
      step_(steps_done) {}

StepResult Trainer::step(const std::function<Votes()>& vote) {
  const Activity activity("step", {}, step_ + 1);
  const double start = now();
  const Configuration& configuration = session_.configuration();
  StepResult result;
  result.step = ++step_;
  result.samples = step_ * configuration.train.global_batch;
  result.learning_rate = learning_rate_.at(step_);

  const std::vector<Microbatch>& microbatches =
      feed_.next([this](const std::vector<Field>& fields) -> auto& { return recorded_.place(fields); });
  result.data_wait_seconds = feed_.last_wait();
  recorded_.run([&] { accumulate(microbatches); });
  feed_.send_ahead();
  const double scale = agree(result, vote ? vote() : Votes{});
  result.stage = executor_.seconds();
  optimizer_->step(step_, result.learning_rate, totals_.view(2 * metrics_, {1}), scale);
  result.seconds = now() - start;
  return result;
}

void Trainer::accumulate(std::span<const Microbatch> microbatches) {
  const Configuration& configuration = session_.configuration();
  const StepContext context{.training = true,
                            .seed = configuration.train.seed,
                            .loss_scale = static_cast<float>(1.0 / expected_targets_),
                            .microbatches = configuration.train.global_batch / configuration.train.micro_batch,
                            .gradients_ready = [&](int block) { reducer_.block_ready(block); }};
  session_.backend().zero(totals_);
  executor_.run(context, microbatches, totals_.view(0, {metrics_, 2}));
  reducer_.finish();
  session_.reduce_shared_gradients();
  optimizer_->add_gradient_norm_squared(totals_.view(2 * metrics_, {1}));
}

double Trainer::agree(StepResult& result, const Votes& votes) {
  const auto sums = sums_.values<double>();
  const auto norm = static_cast<std::size_t>(2 * metrics_);
  session_.backend().download(totals_, sums.data());
  // Ranks of the tensor axis all have the metrics, ranks of the data axis all have the same gradients: one of each
  // counts.
  if (session_.tensor().rank() != 0) std::ranges::fill(sums.first(norm), 0.0);
  if (session_.data().rank() != 0) sums[norm] = 0.0;
  sums[norm + 1] = votes.stop ? 1.0 : 0.0;
  sums[norm + 2] = votes.save ? 1.0 : 0.0;
  sums[norm + 3] = votes.saving ? 1.0 : 0.0;
  session_.world().all().all_reduce(sums_, Reduction::sum).wait();
  result.votes = {.stop = sums[norm + 1] > 0, .save = sums[norm + 2] > 0, .saving = sums[norm + 3] > 0};
  if (sums[1] <= 0) fail("step {}: not one sample of the batch has a target to learn from", result.step);
  const double scale = expected_targets_ / sums[1];
  result.loss = sums[0] / sums[1];
  result.gradient_norm = std::sqrt(sums[norm]) * scale;
  sums[norm] *= scale * scale;
  if (session_.world().size() > 1 || scale != 1.0)
    session_.backend().upload(&sums[norm], totals_.view(2 * metrics_, {1}));
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) {
    diverged_ = result;
    fail(
        "step {}: loss {}, gradient norm {}: training has diverged; the parameters of the step before are untouched. "
        "Try a smaller optimizer.learning_rate or more optimizer.warmup_steps",
        result.step, result.loss, result.gradient_norm);
  }
  return scale;
}

std::string format_measured(const std::vector<Metric>& metrics, const Measured& values, int decimals) {
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto& [name, value] = values[i];
    text += i == 0 ? "" : "  ";
    const std::string& unit = metrics[i].unit;
    text += unit.empty() ? fmt::format("{} {:.2f}%", name, 100 * value)
                         : fmt::format("{} {:.{}f} {}", name, value, decimals, unit);
  }
  return text;
}

std::optional<Measured> evaluate(Session& session, DataSet& data, int batches, const std::function<bool()>& stop) {
  const Activity activity("validation");
  const Configuration& configuration = session.configuration();
  const std::vector<Metric>& metrics = session.architecture().metrics;
  const std::shared_ptr<Source> source = source_of(session, data, false);
  const std::int64_t all = source->batches();
  const std::int64_t count = batches > 0 ? std::min<std::int64_t>(all, batches) : all;

  Feed feed(session, source, 0);
  std::vector<Microbatch> parts;
  const int microbatches = microbatches_per_step(session);
  PipelineExecutor executor(session.backend(), session.stage_groups(), session.stage(), session.type(),
                            make_forward_only(session.layout().pipeline, microbatches));
  const StepContext step{
      .training = false, .seed = configuration.train.seed, .loss_scale = 1.0F, .gradients_ready = nullptr};
  const Shape pairs{static_cast<std::int64_t>(metrics.size()), 2};
  Tensor totals = session.backend().allocate(pairs, DType::f64);
  session.backend().zero(totals);
  for (std::int64_t batch = 0; batch < count; ++batch) {
    const Activity here("batch", {}, batch);
    if (stop && any_rank(session.world().all(), stop())) return {};
    executor.run(step, feed.next([&parts](const std::vector<Field>&) -> auto& { return parts; }), totals);
  }
  MemoryPool host_memory(make_host_memory());
  Tensor sums(host_memory, pairs, DType::f64);
  session.backend().download(totals, sums.raw());
  if (session.tensor().rank() != 0) std::ranges::fill(sums.values<double>(), 0.0);
  session.world().all().all_reduce(sums, Reduction::sum).wait();
  return means(metrics, sums.values<double>());
}

}  // namespace trireme
