// The figures of a host as Prometheus reads them. Names follow its conventions: base units, `_total` for what only
// grows while the process lives. What is not known is left out, never zero.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/metrics.h"
#include "app/monitor/board.h"
#include "app/monitor/host.h"
#include "app/monitor/nvml.h"
#include "app/saves.h"

namespace trireme {

/// What the run as a whole is; the host with rank 0 tells it.
struct RunFacts {
  std::string arch, layout, device, precision;
  int stage = 0;                         ///< of the pipeline, this rank
  double flops_per_step = 0;             ///< of the model, forward and backward passes, over all ranks
  std::optional<double> flops_a_second;  ///< that all devices of the run together could do, where it is known
};

/// What rank 0 alone knows of the run.
struct RunFigures {
  RunFacts facts;
  std::int64_t steps = 0, samples = 0, tokens = 0;  ///< since the process began
  StepMetrics last;                                 ///< the newest step, where there was one
  Measured validation;                              ///< the newest
  std::int64_t not_finite = 0;                      ///< steps whose loss or gradient was not
  double checkpoint_stall_seconds = 0;
  std::optional<SaveTally> saves;  ///< where checkpoints are written
  double saved_at = 0;             ///< steady seconds of the newest checkpoint, or of the run's beginning
  std::optional<double> checkpoint_bytes;
};

struct HostFigures {
  double now = 0;  ///< steady seconds
  std::span<const RankBoard> ranks;
  double watchdog = 0;  ///< seconds; 0: none
  std::optional<RunFigures> run;
  std::vector<GpuFigures> gpus;
  std::optional<HostMemory> memory;
  std::optional<FileSystemRoom> checkpoint_room;
};

/// The text of an endpoint, version 0.0.4 of the format.
std::string exposition(const HostFigures& host);

/// Seconds since the rank that is furthest behind ended a step, or since it began; nothing without ranks.
std::optional<double> step_age(std::span<const RankBoard> ranks, double now);
/// Whether every rank has ended a step.
bool all_stepped(std::span<const RankBoard> ranks);

}  // namespace trireme
