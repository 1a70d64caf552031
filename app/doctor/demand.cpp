#include "app/doctor/demand.h"

#include <algorithm>

#include "app/workload.h"

namespace trireme {
namespace {

constexpr double checkpoint_bytes = 12;  ///< of a parameter: its value and two moments
constexpr double training_bytes = 16;    ///< those and the gradient

}  // namespace

std::int64_t count_parameters(const Architecture& architecture) {
  ParameterStore store;  // never allocated: layers only declare what they would have
  for (const Block& block : architecture.blocks) block.make(Build{.store = store});
  std::int64_t count = 0;
  for (const Parameter& parameter : store.parameters()) count += parameter.elements();
  return count;
}

double checkpoint_bytes_of(std::int64_t parameters) { return checkpoint_bytes * static_cast<double>(parameters); }

Demand demand_of(const Configuration& configuration, const Layout& layout) {
  const TrainOptions& train = configuration.train;
  const Workload& workload = workload_of(configuration);
  const auto parameters = count_parameters(workload.architecture(configuration, 1, DType::f32));
  const double stages = layout.pipeline;
  const double of_rank = static_cast<double>(parameters) / (layout.tensor * stages);
  double per_parameter = training_bytes;
  if (train.precision == DType::bf16) per_parameter += static_cast<double>(size_of(DType::bf16));
  if (configuration.checkpoint.background && !configuration.checkpoint.directory.empty())
    per_parameter += checkpoint_bytes;

  double activations = 0;  // of one sample, on all stages together
  for (const Block& block : workload.architecture(configuration, layout.tensor, train.precision).blocks)
    activations += block.cost.activation_bytes;
  const double microbatches = static_cast<double>(train.global_batch) / (layout.data * train.micro_batch);
  const double in_flight =
      configuration.parallel.schedule == ScheduleKind::gpipe ? microbatches : std::min(stages, microbatches);
  return {.parameters = parameters,
          .checkpoint_bytes = checkpoint_bytes_of(parameters),
          .rank_bytes = per_parameter * of_rank + activations / stages * train.micro_batch * in_flight};
}

}  // namespace trireme
