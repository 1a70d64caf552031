#include "app/layout.h"

#include <fmt/ostream.h>

#include <iostream>

#include "app/commands.h"
#include "io/checkpoint/checkpoint.h"
#include "kernels/error.h"

namespace trireme {

void take_vocabulary(GptConfig& model, const TokenizerBlob& tokenizer) {
  if (model.vocabulary != 0 && model.vocabulary != tokenizer.vocabulary)
    refuse("model.vocabulary={}, but the tokenizer of the data set has {} tokens; leave the key out to take its number",
           model.vocabulary, tokenizer.vocabulary);
  model.vocabulary = tokenizer.vocabulary;
}

LayoutLimits limits_of(const Configuration& configuration, std::size_t blocks, int world) {
  const GptConfig& model = configuration.model;
  return {.world = world,
          .heads = model.heads,
          .key_value_heads = model.key_value_head_count(),
          .feed_forward = model.inner_size(),
          .vocabulary = model.vocabulary,
          .blocks = static_cast<int>(blocks),
          .global_batch = configuration.train.global_batch,
          .micro_batch = configuration.train.micro_batch};
}

void print_layout(const Configuration& configuration, std::ostream& out) {
  const auto& directory = configuration.checkpoint.directory;
  if (configuration.layout.ranks < 1) refuse("layout.ranks is not set; it tells how many ranks are at hand");
  if (configuration.data.train.empty())
    refuse("data.train is not set; it names the data sets that 'trireme pack' made");
  if (directory.empty()) refuse("checkpoint.directory is not set: what fails would begin anew");

  Configuration complete = configuration;
  take_vocabulary(complete.model, TokenDataset(configuration.data.train).tokenizer());
  const ParallelOptions& parallel = configuration.parallel;
  const Architecture architecture = make_gpt(complete.model, 1, configuration.train.precision);
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
