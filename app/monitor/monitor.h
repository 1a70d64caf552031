// The endpoint of `monitor.listen`: /metrics for Prometheus, /healthz and /readyz for whoever looks after the job.
#pragma once

#include <memory>
#include <string>

#include "app/configuration.h"
#include "app/monitor/exposition.h"
#include "app/trainer.h"
#include "comm/mpi/world.h"

namespace trireme {

/// One rank of each host serves; the others of the host show it their figures in shared memory. What a step adds takes
/// well under a microsecond, and no rank waits for anything. Where hosts let ranks share no memory, the rank tells of
/// itself alone. Nothing is done where monitor.listen is empty.
///
/// /healthz is 200, or 503 when no step and no batch of a validation has ended within train.watchdog seconds;
/// /readyz is 503 until every rank of the host has ended a step.
class Monitor {
 public:
  /// Collective. Fails on all ranks of a host where its port cannot be had.
  Monitor(World& world, const Configuration& configuration);
  ~Monitor();
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  /// Where it listens, "127.0.0.1:9400"; empty where this rank does not serve.
  std::string address() const;

  /// The run is set up, and training begins.
  void begin(RunFacts facts);
  /// A step has ended on this rank.
  void step(const StepResult& result);
  /// Something else that takes time, a batch of a validation, has ended on this rank.
  void alive();
  /// Of rank 0: the same step in the figures of the run, and what its saves have come to.
  void report(const StepMetrics& metrics);
  void saves(const SaveTally& tally);
  /// The run ends because loss or gradient is not a finite number. Where something asks the endpoint regularly, returns
  /// only after that was told once more, or after two of its intervals, between a second and a minute.
  void diverged(const StepResult& result);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
