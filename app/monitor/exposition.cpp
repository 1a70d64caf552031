#include "app/monitor/exposition.h"

#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace trireme {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

bool is_there(const RankBoard& rank) { return rank.process != 0; }

/// Collects families; a family without values is not told.
class Families {
 public:
  Families& begin(std::string name, std::string help, MetricType type = MetricType::Gauge) {
    families_.push_back({.name = std::move(name), .help = std::move(help), .type = type, .metric = {}});
    return *this;
  }
  Families& counter(std::string name, std::string help) {
    return begin(std::move(name), std::move(help), MetricType::Counter);
  }
  Families& value(std::optional<double> value, Labels labels = {}) {
    if (!value) return *this;
    ClientMetric& metric = add(std::move(labels));
    (families_.back().type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = *value;
    return *this;
  }
  ClientMetric& add(Labels labels = {}) {
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }
  std::string text() {
    std::erase_if(families_, [](const MetricFamily& family) { return family.metric.empty(); });
    return prometheus::TextSerializer().Serialize(families_);
  }

 private:
  std::vector<MetricFamily> families_;
};

void tell_step_times(Families& families, std::span<const RankBoard> ranks) {
  auto& histogram = families
                        .begin("trireme_step_duration_seconds",
                               "Duration of training steps, of the ranks of this host.", MetricType::Histogram)
                        .add()
                        .histogram;
  for (std::size_t bucket = 0; bucket <= step_bounds.size(); ++bucket) {
    for (const RankBoard& rank : ranks) histogram.sample_count += rank.histogram[bucket];
    const double bound = bucket < step_bounds.size() ? step_bounds[bucket] : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({.cumulative_count = histogram.sample_count, .upper_bound = bound});
  }
  for (const RankBoard& rank : ranks) histogram.sample_sum += rank.step_seconds.get();
}

void tell_of_ranks(Families& families, const HostFigures& host) {
  const auto each = [&](auto&& value_of) {
    for (const RankBoard& rank : host.ranks) {
      if (!is_there(rank)) continue;
      families.value(value_of(rank),
                     {{"rank", fmt::format("{}", rank.rank.load())}, {"stage", fmt::format("{}", rank.stage.load())}});
    }
  };
  families.counter("trireme_rank_steps_total", "Steps that the rank has done since its process began.");
  each([](const RankBoard& rank) { return std::optional(static_cast<double>(rank.steps)); });
  families.counter("trireme_data_wait_seconds_total", "Time that the rank has waited for data.");
  each([](const RankBoard& rank) { return std::optional(rank.data_wait_seconds.get()); });
  families.counter("trireme_rank_compute_seconds_total",
                   "Time in the forward and backward passes of the rank's stage.");
  each([](const RankBoard& rank) { return std::optional(rank.compute_seconds.get()); });
  families.counter("trireme_rank_pipeline_wait_seconds_total", "Time that the rank has waited for other stages.");
  each([](const RankBoard& rank) { return std::optional(rank.pipeline_wait_seconds.get()); });
  families.begin("trireme_rank_resident_memory_bytes", "Main memory of the rank's process.");
  each([](const RankBoard& rank) {
    const double bytes = resident_bytes(rank.process);
    return bytes > 0 ? std::optional(bytes) : std::nullopt;
  });
}

void tell_how_ranks_compare(Families& families, std::span<const RankBoard> ranks) {
  double busy = 0;
  double wait = 0;
  const RankBoard* slowest = nullptr;
  bool pipelined = false;
  for (const RankBoard& rank : ranks) {
    if (!is_there(rank) || rank.steps == 0) continue;
    busy += rank.recent_busy.get();
    wait += rank.recent_wait.get();
    pipelined = pipelined || rank.pipeline_wait_seconds.get() > 0;
    if (slowest == nullptr || rank.recent_busy.get() > slowest->recent_busy.get()) slowest = &rank;
  }
  if (slowest == nullptr) return;
  families.begin("trireme_slowest_rank", "Rank of this host that lately had most work of its own in a step.")
      .value(slowest->rank);
  families
      .begin("trireme_slowest_rank_step_work_seconds",
             "Work of that rank in a step, waiting for data included, for other ranks not.")
      .value(slowest->recent_busy.get());
  if (pipelined)
    families
        .begin("trireme_pipeline_bubble_ratio",
               "Share of the passes' time that the ranks of this host lately waited for other stages.")
        .value(wait / (busy + wait));
}

void tell_of_saves(Families& families, const RunFigures& run, double now) {
  if (!run.saves) return;
  families
      .begin("trireme_checkpoint_age_seconds",
             "Training that a crash would lose: time since the newest checkpoint, or since the process began to train.")
      .value(now - run.saved_at);
  families.counter("trireme_checkpoints_total", "Checkpoints completed since the process began.")
      .value(static_cast<double>(run.saves->saved));
  families.counter("trireme_checkpoint_failures_total", "Saves that failed since the process began.")
      .value(static_cast<double>(run.saves->failed));
  families.counter("trireme_checkpoint_stall_seconds_total", "Time that training has waited for checkpoints.")
      .value(run.checkpoint_stall_seconds);
  if (run.saves->saved == 0) return;
  families.begin("trireme_checkpoint_duration_seconds", "From the beginning of the newest save until it was complete.")
      .value(run.saves->seconds);
  families.begin("trireme_checkpoint_size_bytes", "Size of the newest checkpoint.").value(run.checkpoint_bytes);
}

void tell_of_run(Families& families, const RunFigures& run) {
  const RunFacts& facts = run.facts;
  families.begin("trireme_run_info", "What is trained, and how; always 1.")
      .value(1, {{"arch", facts.arch},
                 {"layout", facts.layout},
                 {"device", facts.device},
                 {"precision", facts.precision},
                 {"version", TRIREME_VERSION}});
  families.counter("trireme_steps_total", "Steps done since the process began.").value(static_cast<double>(run.steps));
  families.counter("trireme_samples_total", "Samples trained on since the process began.")
      .value(static_cast<double>(run.samples));
  families.counter("trireme_nonfinite_steps_total", "Steps whose loss or gradient norm was not a finite number.")
      .value(static_cast<double>(run.not_finite));
  if (run.steps == 0 && run.not_finite == 0) return;
  const StepMetrics& last = run.last;
  if (run.tokens > 0)
    families.counter("trireme_tokens_total", "Tokens trained on since the process began.")
        .value(static_cast<double>(run.tokens));
  families.begin("trireme_step", "Newest step, counted from the beginning of the run.")
      .value(static_cast<double>(last.step));
  families.begin("trireme_loss", "Loss of the newest step, in nats.").value(last.loss);
  families.begin("trireme_gradient_norm", "Norm of the gradient in the newest step, before clipping.")
      .value(last.grad_norm);
  families.begin("trireme_learning_rate", "Learning rate of the newest step.").value(last.learning_rate);
  families.begin("trireme_validation", "Newest validation, by what is measured.");
  for (const auto& [name, value] : run.validation) families.value(value, {{"metric", name}});
  families
      .counter("trireme_model_floating_point_operations_total",
               "Operations of the model's passes since the process began; a multiply-add counts two.")
      .value(facts.flops_per_step * static_cast<double>(run.steps));
  if (facts.flops_a_second && last.step_seconds > 0)
    families
        .begin("trireme_model_flop_utilization_ratio",
               "Operations of the model in the newest step, as a share of what the devices could do meanwhile.")
        .value(facts.flops_per_step / last.step_seconds / *facts.flops_a_second);
}

void tell_of_gpus(Families& families, const std::vector<GpuFigures>& gpus) {
  const auto each = [&](const char* name, const char* help, std::optional<double> GpuFigures::*figure) {
    families.begin(name, help);
    for (const GpuFigures& gpu : gpus) families.value(gpu.*figure, {{"gpu", gpu.index}, {"uuid", gpu.uuid}});
  };
  each("trireme_gpu_utilization_ratio", "Share of the last sampling period in which a kernel ran on the GPU.",
       &GpuFigures::utilization);
  each("trireme_gpu_memory_bytes", "Memory of the GPU.", &GpuFigures::memory_bytes);
  each("trireme_gpu_memory_used_bytes", "Memory of the GPU that is in use.", &GpuFigures::memory_used_bytes);
  each("trireme_gpu_power_watts", "Power that the GPU draws.", &GpuFigures::power_watts);
  each("trireme_gpu_temperature_celsius", "Temperature of the GPU.", &GpuFigures::temperature_celsius);
  each("trireme_gpu_clock_hertz", "Clock of the GPU's processors.", &GpuFigures::clock_hertz);
}

}  // namespace

std::string exposition(const HostFigures& host) {
  Families families;
  tell_step_times(families, host.ranks);
  families.begin("trireme_step_age_seconds", "Time since the rank of this host that is furthest behind ended a step.")
      .value(step_age(host.ranks, host.now));
  if (host.watchdog > 0)
    families.begin("trireme_watchdog_limit_seconds", "Time without progress after which the job ends itself.")
        .value(host.watchdog);
  tell_of_ranks(families, host);
  tell_how_ranks_compare(families, host.ranks);
  if (host.run) {
    tell_of_run(families, *host.run);
    tell_of_saves(families, *host.run, host.now);
  }
  tell_of_gpus(families, host.gpus);
  if (host.memory) {
    families.begin("trireme_host_memory_bytes", "Main memory of the host.").value(host.memory->bytes);
    families.begin("trireme_host_memory_available_bytes", "Main memory of the host that programs could still have.")
        .value(host.memory->available_bytes);
  }
  if (host.checkpoint_room) {
    families.begin("trireme_checkpoint_filesystem_size_bytes", "File system that bears the checkpoints.")
        .value(host.checkpoint_room->bytes);
    families.begin("trireme_checkpoint_filesystem_available_bytes", "Room that is left there.")
        .value(host.checkpoint_room->available_bytes);
  }
  return families.text();
}

std::optional<double> step_age(std::span<const RankBoard> ranks, double now) {
  std::optional<double> age;
  for (const RankBoard& rank : ranks)
    if (is_there(rank)) age = std::max(age.value_or(0), now - rank.alive.get());
  return age;
}

bool all_stepped(std::span<const RankBoard> ranks) {
  return std::ranges::all_of(ranks, [](const RankBoard& rank) { return is_there(rank) && rank.steps > 0; });
}

}  // namespace trireme
