#include "app/trainer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "kernels/error.h"

namespace trireme {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

LoaderOptions loader_options(Session& session, std::int64_t steps_done, bool shuffle) {
  const Configuration& configuration = session.configuration();
  LoaderOptions options;
  options.context = configuration.model.context;
  options.global_batch = configuration.train.global_batch;
  options.data_rank = session.data().rank();
  options.data_ranks = session.data().size();
  options.seed = configuration.train.seed;
  options.shuffle = shuffle;
  options.first_sample = steps_done * configuration.train.global_batch;
  return options;
}

int microbatches_per_step(Session& session) {
  const TrainOptions& train = session.configuration().train;
  return train.global_batch / train.micro_batch / session.layout().data;
}

/// Cuts a rank's batch into microbatches and brings them to the device.
std::vector<Microbatch> upload(Session& session, const TokenBatch& batch) {
  const std::int64_t samples = session.configuration().train.micro_batch;
  std::vector<Microbatch> result;
  for (std::int64_t first = 0; first < batch.samples; first += samples) {
    const Shape shape{samples, batch.context};
    const auto bring = [&](const std::vector<std::int32_t>& tokens) {
      Tensor tensor = session.backend().allocate(shape, DType::i32);
      session.backend().upload(tokens.data() + first * batch.context, tensor);
      return tensor;
    };
    result.push_back({bring(batch.inputs), bring(batch.targets), batch.first_sample + first});
  }
  return result;
}

}  // namespace

Trainer::Trainer(Session& session, std::shared_ptr<TokenDataset> data, std::int64_t steps_done)
    : session_(session),
      learning_rate_{.peak = session.configuration().optimizer.learning_rate,
                     .minimum = session.configuration().optimizer.min_learning_rate,
                     .warmup_steps = session.configuration().optimizer.warmup_steps,
                     .steps = session.configuration().train.steps,
                     .decay = session.configuration().optimizer.decay},
      loader_(std::move(data), loader_options(session, steps_done, true)),
      executor_(session.backend(), session.pipeline(), session.tensor(), session.stage(), session.type(),
                make_schedule(session.configuration().parallel.schedule, session.layout().pipeline,
                              microbatches_per_step(session))),
      reducer_(session.data(), session.store(), session.block_first()),
      optimizer_(session.backend(), session.store(),
                 {.beta1 = session.configuration().optimizer.beta1,
                  .beta2 = session.configuration().optimizer.beta2,
                  .epsilon = session.configuration().optimizer.epsilon,
                  .weight_decay = session.configuration().optimizer.weight_decay,
                  .clip_norm = session.configuration().optimizer.clip_norm}),
      totals_(session.backend().allocate({3}, DType::f64)),
      step_(steps_done) {}

StepResult Trainer::step(bool stop) {
  const double start = now();
  const Configuration& configuration = session_.configuration();
  StepResult result;
  result.step = ++step_;
  result.samples = step_ * configuration.train.global_batch;
  result.learning_rate = learning_rate_.at(step_);

  const std::vector<Microbatch> microbatches = upload(session_, loader_.next());
  result.data_wait_seconds = loader_.last_wait();
  const double tokens = static_cast<double>(configuration.train.global_batch) * configuration.model.context;
  const StepContext context{.training = true,
                            .seed = configuration.train.seed,
                            .loss_scale = static_cast<float>(1.0 / tokens),
                            .gradients_ready = [&](int block) { reducer_.block_ready(block); }};
  session_.backend().zero(totals_);
  executor_.run(context, microbatches, totals_.view(0, {1}));
  reducer_.finish();
  session_.reduce_shared_gradients();
  agree(result, stop);
  optimizer_.step(step_, result.learning_rate, totals_.view(1, {1}));
  result.seconds = now() - start;
  return result;
}

void Trainer::agree(StepResult& result, bool stop) {
  Backend& backend = session_.backend();
  // Ranks of the tensor axis all have the loss, ranks of the data axis all have the same gradients: one of each counts.
  if (session_.tensor().rank() != 0) backend.zero(totals_.view(0, {1}));
  if (session_.data().rank() == 0) optimizer_.add_gradient_norm_squared(totals_.view(1, {1}));
  const double wish = stop ? 1.0 : 0.0;
  backend.upload(&wish, totals_.view(2, {1}));
  session_.world().all().all_reduce(totals_, Reduction::sum).wait();
  std::array<double, 3> totals{};
  backend.download(totals_, totals.data());
  result.loss = totals[0];
  result.gradient_norm = std::sqrt(totals[1]);
  result.stop = totals[2] > 0;
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm))
    fail(
        "step {}: loss {}, gradient norm {}: training has diverged; the parameters of the step before are untouched. "
        "Try a smaller optimizer.learning_rate or more optimizer.warmup_steps",
        result.step, result.loss, result.gradient_norm);
}

double evaluate(Session& session, const std::shared_ptr<TokenDataset>& data, int batches) {
  const Configuration& configuration = session.configuration();
  const std::int64_t context = configuration.model.context;
  const std::int64_t batch = configuration.train.global_batch;
  std::int64_t samples = TokenLoader::samples_in(*data, static_cast<int>(context));
  if (batches > 0) samples = std::min(samples, batches * batch);

  TokenLoader loader(data, loader_options(session, 0, false));
  const int microbatches = microbatches_per_step(session);
  PipelineExecutor executor(session.backend(), session.pipeline(), session.tensor(), session.stage(), session.type(),
                            make_forward_only(session.layout().pipeline, microbatches));
  const StepContext step{
      .training = false, .seed = configuration.train.seed, .loss_scale = 1.0F, .gradients_ready = nullptr};
  Tensor total = session.backend().allocate({1}, DType::f64);
  session.backend().zero(total);
  for (std::int64_t first = 0; first < samples; first += batch) {
    TokenBatch part = loader.next();
    // The last batch is filled up with samples that do not count.
    const std::int64_t counting = std::clamp<std::int64_t>(samples - part.first_sample, 0, part.samples);
    std::fill(part.targets.begin() + counting * context, part.targets.end(), -1);
    executor.run(step, upload(session, part), total);
  }
  if (session.tensor().rank() != 0) session.backend().zero(total);
  session.world().all().all_reduce(total, Reduction::sum).wait();
  double sum = 0;
  session.backend().download(total, &sum);
  return sum / static_cast<double>(samples * context);
}

}  // namespace trireme
