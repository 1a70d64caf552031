// bench_monitor [--steps=N]: what a step of rank 0 pays for monitor.listen, in nanoseconds of processor time of the
// thread that trains: the calls that a step makes, a million times, with the endpoint listening.
#include "app/monitor/monitor.h"

#include <ctime>

#include "tests/bench/benchmark.h"

namespace trireme::bench {
namespace {

double thread_nanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
}

nlohmann::ordered_json measure(int argc, char** argv) {
  namespace options = boost::program_options;
  std::int64_t steps = 1'000'000;
  options::options_description known;
  known.add_options()("steps", options::value(&steps));
  options::variables_map values;
  options::store(options::parse_command_line(argc, argv, known), values);
  options::notify(values);

  World world(&argc, &argv);
  Configuration configuration;
  configuration.monitor.listen = std::string("127.0.0.1:0");
  Monitor monitor(world, configuration);
  monitor.begin({.arch = "gpt", .layout = "data 1", .device = "cpu", .precision = "fp32"});
  StepResult result{.loss = 1, .seconds = 0.1, .stage = StageSeconds{.compute = 0.08, .waiting = 0.01}};
  StepMetrics metrics{.loss = 1, .step_seconds = 0.1};
  const double start = thread_nanoseconds();
  for (std::int64_t step = 1; step <= steps; ++step) {
    result.step = metrics.step = step;
    metrics.samples = 32 * step;
    metrics.tokens = 4096 * step;
    monitor.step(result);
    monitor.report(metrics);
    monitor.saves(
        {.saved = step / 1000, .failed = 0, .seconds = 1, .folder = "/a/folder/of/some/checkpoints/step-00001000"});
  }
  return {{"steps", steps}, {"nanoseconds_a_step", (thread_nanoseconds() - start) / static_cast<double>(steps)}};
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  return trireme::bench::print_result("bench_monitor", [&] { return trireme::bench::measure(argc, argv); });
}
