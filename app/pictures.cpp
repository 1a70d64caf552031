#include "app/pictures.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "app/inference.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

constexpr std::int64_t most_elements = 65536;  // of a tensor, in a histogram
constexpr std::size_t longest_queue = 100'000;

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Every n-th element.
std::vector<float> thinned(Backend& backend, const Tensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  backend.download(tensor, values.data());
  const std::int64_t stride = (tensor.elements() + most_elements - 1) / most_elements;
  if (stride <= 1) return values;
  std::size_t count = 0;
  for (std::size_t i = 0; i < values.size(); i += static_cast<std::size_t>(stride)) values[count++] = values[i];
  values.resize(count);
  values.shrink_to_fit();
  return values;
}

/// A sample alone, as a batch of its own.
Batch read_sample(Source& source, std::int64_t number) {
  Batch sample{.number = number, .first_sample = number, .samples = 1, .fields = source.fields(number), .data = {}};
  std::vector<std::byte*> room;
  for (const Field& field : sample.fields) room.push_back(sample.data.emplace_back(field.bytes()).data());
  source.read(number, 0, room);
  return sample;
}

}  // namespace

Pictures::Pictures(Session& session, std::int64_t step) : session_(session), options_(session.configuration().log) {
  const bool first = session.world().rank() == 0;
  if (session.data().rank() != 0 || session.tensor().rank() != 0) return;
  const std::string below = first ? "" : fmt::format("stage-{}", session.stage().index);
  if (!options_.tensorboard.empty())
    logs_.push_back(make_tensorboard_log(options_.tensorboard / below, "log.tensorboard", step + 1));
  if (!options_.visualdl.empty())
    logs_.push_back(make_visualdl_log(options_.visualdl / below, "log.visualdl", step + 1));
  if (!logs_.empty()) thread_ = std::thread([this] { run(); });
}

Pictures::~Pictures() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    closing_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Pictures::look_at_parameters(std::int64_t step) {
  if (logs_.empty() || options_.histograms_every == 0 || step % options_.histograms_every != 0) return;
  const double time = wall_seconds();
  for (const Parameter& parameter : session_.store().parameters()) {
    std::int64_t first = 0;
    for (const ParameterDeclaration& part : parameter.parts()) {
      const std::int64_t elements = part.shard.extent.elements();
      const auto look = [&](const char* kind, const Tensor& tensor) {
        const std::int64_t all = tensor.elements();
        auto values = thinned(session_.backend(), tensor.view(0, {all}).view(first, {elements}));
        add([tag = fmt::format("{}/{}", kind, part.name), step, time, values = std::move(values)](EventLog& log) {
          const Histogram histogram = histogram_of(values);
          if (histogram.count > 0) log.histogram(tag, step, time, histogram);
        });
      };
      look("weights", parameter.value);
      if (parameter.trained()) look("gradients", parameter.gradient);
      first += elements;
    }
  }
}

void Pictures::look_at_samples(std::int64_t step, DataSet& data) {
  const bool draws = !options_.tensorboard.empty() || !options_.visualdl.empty();
  if (!draws || options_.samples == 0 || session_.data().rank() != 0) return;
  const Activity activity("samples to look at");
  const Configuration& configuration = session_.configuration();
  const double time = wall_seconds();
  const auto source =
      data.source(configuration, {.global_batch = 1, .seed = configuration.train.seed, .training = false});
  const std::int64_t all = source->batches(), count = std::min<std::int64_t>(options_.samples, all);
  Inference model(session_);
  for (std::int64_t number = 0; number < count; ++number) {  // evenly from all of them
    auto example = workload_of(configuration).example(model, read_sample(*source, number * all / count));
    if (!example || session_.world().rank() != 0) continue;
    add([tag = fmt::format("samples/{}", number), step, time, example = *std::move(example)](EventLog& log) {
      log.text(tag, step, time, example.text);
      if (example.picture) log.image(tag + "/picture", step, time, *example.picture);
    });
  }
}

void Pictures::step(const StepMetrics& metrics) {
  if (logs_.empty() || (metrics.step % options_.scalars_every != 0 && metrics.validation.empty())) return;
  add([metrics, time = wall_seconds()](EventLog& log) {
    const auto tell = [&](const std::string& tag, double value) { log.scalar(tag, metrics.step, time, value); };
    tell("train/loss", metrics.loss);
    tell("train/gradient_norm", metrics.grad_norm);
    tell("train/learning_rate", metrics.learning_rate);
    tell("train/step_seconds", metrics.step_seconds);
    tell(fmt::format("train/{}_per_second", metrics.unit()), metrics.per_second);
    tell("train/data_wait_seconds", metrics.data_wait_seconds);
    tell("train/checkpoint_stall_seconds", metrics.checkpoint_stall_seconds);
    for (const auto& [name, value] : metrics.validation) tell("validation/" + name, value);
  });
}

std::optional<std::string> Pictures::take_trouble() {
  const std::scoped_lock lock(mutex_);
  if (!trouble_ || told_) return {};
  told_ = true;
  return trouble_;
}

void Pictures::add(Work work) {
  {
    const std::scoped_lock lock(mutex_);
    if (trouble_) return;
    if (queue_.size() >= longest_queue) {
      trouble_ = "the disk is too slow for them";
      return;
    }
    queue_.push_back(std::move(work));
  }
  changed_.notify_one();
}

void Pictures::run() {
  while (true) {
    std::deque<Work> works;
    bool last = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      works.swap(queue_);
      last = closing_;
    }
    try {
      for (const Work& work : works)
        for (const auto& log : logs_) work(*log);
      for (const auto& log : logs_) log->flush();
    } catch (const std::exception& error) {
      const std::scoped_lock lock(mutex_);
      trouble_ = error.what();
      queue_.clear();
      return;
    }
    if (last) return;
  }
}

}  // namespace trireme
