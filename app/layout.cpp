#include "app/layout.h"

#include <fmt/ostream.h>

#include <iostream>

#include "app/commands.h"
#include "app/workload.h"
#include "io/checkpoint/checkpoint.h"
#include "kernels/error.h"

namespace trireme {

void print_layout(const Configuration& configuration, std::ostream& out) {
  const auto& directory = configuration.checkpoint.directory;
  if (configuration.layout.ranks < 1) refuse("layout.ranks is not set; it tells how many ranks are at hand");
  if (directory.empty()) refuse("checkpoint.directory is not set: what fails would begin anew");

  Configuration complete = configuration;
  const Workload& workload = workload_of(configuration);
  workload.take(complete, open_data(configuration, configuration.data.train, "data.train")->tokenizer());
  const ParallelOptions& parallel = configuration.parallel;
  const Architecture architecture = workload.architecture(complete, 1, configuration.train.precision);
  const Layout layout = fit_layout({.data = parallel.data, .tensor = parallel.tensor, .pipeline = parallel.pipeline},
                                   limits_of(complete, architecture.blocks.size(), configuration.layout.ranks));
  const auto steps = list_checkpoints(directory);
  fmt::print(out,
             "{} --parallel.data={} --parallel.tensor={} --parallel.pipeline={}\n"
             "steps {}\nstep {}\n",
             layout.data * layout.tensor * layout.pipeline, layout.data, layout.tensor, layout.pipeline,
             configuration.train.steps, steps.empty() ? 0 : steps.back());
}

ExitStatus run_layout(const Configuration& configuration) {
  print_layout(configuration, std::cout);
  return ExitStatus::done;
}

}  // namespace trireme
