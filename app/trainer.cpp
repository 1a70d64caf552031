#include "app/trainer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "io/checkpoint/agreement.h"
#include "kernels/activity.h"
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

/// Brings a rank's batch to the device, cut into microbatches. `microbatches` keep their memory from batch to batch.
void upload(Session& session, const TokenBatch& batch, std::vector<Microbatch>& microbatches) {
  const std::int64_t samples = session.configuration().train.micro_batch;
  microbatches.resize(static_cast<std::size_t>(batch.samples / samples));
  std::int64_t first = 0;
  for (Microbatch& microbatch : microbatches) {
    const auto bring = [&](const std::vector<std::int32_t>& tokens, Tensor& tensor) {
      if (tensor.empty()) tensor = session.backend().allocate({samples, batch.context}, DType::i32);
      session.backend().upload(tokens.data() + first * batch.context, tensor);
    };
    bring(batch.inputs, microbatch.inputs);
    bring(batch.targets, microbatch.targets);
    microbatch.first_sample = batch.first_sample + first;
    first += samples;
  }
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
      totals_(session.backend().allocate({2}, DType::f64)),
      sums_(host_memory_, {5}, DType::f64),
      step_(steps_done) {}

StepResult Trainer::step(const std::function<Votes()>& vote) {
  const Activity activity("step", {}, step_ + 1);
  const double start = now();
  const Configuration& configuration = session_.configuration();
  StepResult result;
  result.step = ++step_;
  result.samples = step_ * configuration.train.global_batch;
  result.learning_rate = learning_rate_.at(step_);

  upload(session_, loader_.next(), microbatches_);
  result.data_wait_seconds = loader_.last_wait();
  accumulate_or_replay();
  agree(result, vote ? vote() : Votes{});
  optimizer_.step(step_, result.learning_rate, totals_.view(1, {1}));
  result.seconds = now() - start;
  return result;
}

void Trainer::accumulate() {
  const Configuration& configuration = session_.configuration();
  const double tokens = static_cast<double>(configuration.train.global_batch) * configuration.model.context;
  const StepContext context{.training = true,
                            .seed = configuration.train.seed,
                            .loss_scale = static_cast<float>(1.0 / tokens),
                            .gradients_ready = [&](int block) { reducer_.block_ready(block); }};
  session_.backend().zero(totals_);
  executor_.run(context, microbatches_, totals_.view(0, {1}));
  reducer_.finish();
  session_.reduce_shared_gradients();
  optimizer_.add_gradient_norm_squared(totals_.view(1, {1}));
}

void Trainer::accumulate_or_replay() {
  // The first run fills the memory pool and chooses algorithms, which a recording cannot.
  if (has_run_ && !recording_ && session_.can_record())
    recording_ = session_.backend().record([this] { accumulate(); });
  has_run_ = true;
  if (recording_)
    recording_->replay();
  else
    accumulate();
}

void Trainer::agree(StepResult& result, const Votes& votes) {
  std::array<double, 2> mine{};
  session_.backend().download(totals_, mine.data());
  // Ranks of the tensor axis all have the loss, ranks of the data axis all have the same gradients: one of each counts.
  const auto sums = sums_.values<double>();
  sums[0] = session_.tensor().rank() == 0 ? mine[0] : 0.0;
  sums[1] = session_.data().rank() == 0 ? mine[1] : 0.0;
  sums[2] = votes.stop ? 1.0 : 0.0;
  sums[3] = votes.save ? 1.0 : 0.0;
  sums[4] = votes.saving ? 1.0 : 0.0;
  session_.world().all().all_reduce(sums_, Reduction::sum).wait();
  result.loss = sums[0];
  result.gradient_norm = std::sqrt(sums[1]);
  result.votes = {.stop = sums[2] > 0, .save = sums[3] > 0, .saving = sums[4] > 0};
  if (session_.world().size() > 1) session_.backend().upload(&sums[1], totals_.view(1, {1}));
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm))
    fail(
        "step {}: loss {}, gradient norm {}: training has diverged; the parameters of the step before are untouched. "
        "Try a smaller optimizer.learning_rate or more optimizer.warmup_steps",
        result.step, result.loss, result.gradient_norm);
}

std::optional<double> evaluate(Session& session, const std::shared_ptr<TokenDataset>& data, int batches,
                               const std::function<bool()>& stop) {
  const Activity activity("validation", data->name());
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
  std::vector<Microbatch> parts;
  for (std::int64_t first = 0; first < samples; first += batch) {
    const Activity here("batch", {}, first / batch);
    if (stop && any_rank(session.world().all(), stop())) return {};
    TokenBatch part = loader.next();
    // The last batch is filled up with samples that do not count.
    const std::int64_t counting = std::clamp<std::int64_t>(samples - part.first_sample, 0, part.samples);
    std::fill(part.targets.begin() + counting * context, part.targets.end(), -1);
    upload(session, part, parts);
    executor.run(step, parts, total);
  }
  MemoryPool host_memory(make_host_memory());
  Tensor sum(host_memory, {1}, DType::f64);
  session.backend().download(total, sum.raw());
  if (session.tensor().rank() != 0) sum.data<double>()[0] = 0.0;
  session.world().all().all_reduce(sum, Reduction::sum).wait();
  return sum.data<double>()[0] / static_cast<double>(samples * context);
}

}  // namespace trireme
