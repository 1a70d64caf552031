// The bubble of a pipeline, measured and simulated. Runs under mpirun, one rank a stage, with the options of
// `trireme train`; prints one line of JSON. Random tokens, no optimizer.
//
// The simulator gets each stage's own computing time, divided between the three kinds of action in equal parts (of a
// linear layer they cost the same), and messages that take no time.
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "app/options.h"
#include "app/session.h"
#include "model/pipeline/simulator.h"

namespace trireme::bench {
namespace {

constexpr int warmup_steps = 2, measured_steps = 6;

std::vector<Microbatch> random_microbatches(Session& session) {
  const Configuration& configuration = session.configuration();
  std::mt19937 random(1);
  std::uniform_int_distribution<std::int32_t> any(0, configuration.model.vocabulary - 1);
  const auto tokens = [&] {
    Tensor tensor =
        session.backend().allocate({configuration.train.micro_batch, configuration.model.context}, DType::i32);
    for (std::int32_t& token : tensor.values<std::int32_t>()) token = any(random);
    return tensor;
  };
  std::vector<Microbatch> microbatches;
  for (int i = 0; i < configuration.train.global_batch / configuration.train.micro_batch; ++i) {
    microbatches.push_back({{tokens(), tokens()}, static_cast<std::int64_t>(i) * configuration.train.micro_batch});
  }
  return microbatches;
}

/// Seconds of all measured steps, on this rank.
struct Measured {
  double wall = 0, compute = 0;
};

Measured measure(Session& session, const Schedule& schedule) {
  PipelineExecutor executor(session.backend(), session.stage_groups(), session.stage(), session.type(), schedule);
  const std::vector<Microbatch> microbatches = random_microbatches(session);
  const StepContext context{.loss_scale = 1e-4F, .gradients_ready = nullptr};
  Tensor totals = session.backend().allocate({1, 2}, DType::f64);
  session.backend().zero(totals);
  Measured measured;
  for (int step = 0; step < warmup_steps + measured_steps; ++step) {
    session.pipeline().barrier();
    const auto begin = std::chrono::steady_clock::now();
    executor.run(context, microbatches, totals);
    session.backend().synchronize();
    session.pipeline().barrier();
    if (step < warmup_steps) continue;
    measured.wall += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    measured.compute += executor.seconds().compute;
  }
  return measured;
}

std::vector<double> compute_of_all_stages(Session& session, double mine) {
  Tensor input = session.backend().allocate({1}, DType::f64);
  Tensor output = session.backend().allocate({session.pipeline().size()}, DType::f64);
  session.backend().upload(&mine, input);
  session.pipeline().all_gather(input, output).wait();
  std::vector<double> all(static_cast<std::size_t>(session.pipeline().size()));
  session.backend().download(output, all.data());
  return all;
}

void run(World& world, const std::vector<std::string>& arguments) {
  const Configuration configuration = parse_command_line(Command::train, arguments);
  if (configuration.parallel.pipeline != world.size()) {
    refuse("parallel.pipeline: found {}, expected one stage for each of the {} ranks", configuration.parallel.pipeline,
           world.size());
  }
  Session session(configuration, world, {"characters", 2000, 0, ""}, Session::Purpose::training);
  const int microbatches = configuration.train.global_batch / configuration.train.micro_batch;
  const Schedule schedule = make_schedule(configuration.parallel.schedule, world.size(), microbatches);
  const Measured measured = measure(session, schedule);
  const std::vector<double> compute = compute_of_all_stages(session, measured.compute);
  if (world.rank() != 0) return;

  double busy = 0;
  std::vector<StageTimes> times;
  for (const double seconds : compute) {
    const double action = seconds / (3.0 * measured_steps * microbatches);
    times.push_back({action, action, action, 0.0});
    busy += seconds;
  }
  const SimulationResult simulated = simulate(schedule, times);
  const nlohmann::ordered_json result = {
      {"schedule", schedule.name},
      {"stages", world.size()},
      {"microbatches", microbatches},
      {"stage_compute_seconds", compute},
      {"step_seconds", measured.wall / measured_steps},
      {"measured_bubble_share", 1 - busy / (world.size() * measured.wall)},
      {"simulated_step_seconds", simulated.seconds},
      {"simulated_bubble_share", simulated.bubble_share},
  };
  fmt::print("{}\n", result.dump());
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  trireme::World world(&argc, &argv);
  try {
    trireme::bench::run(world, {argv + 1, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "bubble: {}\n", error.what());
    world.abort(1);
  }
}
