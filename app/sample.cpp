// trireme sample
#include <iostream>

#include "app/commands.h"
#include "app/continuation.h"
#include "app/workload.h"

namespace trireme {

ExitStatus run_sample(const Configuration& configuration, World& world) {
  if (world.size() != 1)
    refuse("sample runs on one rank, found {}: start it without mpirun, or with -n 1", world.size());
  const auto folder = find_checkpoint(configuration.checkpoint, world);
  if (folder.empty())
    refuse("checkpoint.directory='{}' holds no checkpoint to sample from", configuration.checkpoint.directory.string());
  CheckpointReader reader(folder);
  const TokenizerBlob blob = tokenizer_of(reader.info());
  Configuration single = with_model_of(configuration, reader);
  if (!workload_of(single).writes_text())
    refuse("{}: found a checkpoint of model.arch={}, expected one of a model that writes text", folder.string(),
           single.arch);
  single.parallel = {};
  single.train.global_batch = single.train.micro_batch = 1;
  Session session(single, world, blob, Session::Purpose::inference);
  session.load(reader);
  const auto tokenizer = Tokenizer::load(blob);

  const SampleOptions& options = configuration.sample;
  Inference model(session);
  for (int sample = 0; sample < options.count; ++sample) {
    const auto tokens =
        continue_text(model, begin_text(*tokenizer, options.prompt), options, static_cast<std::uint64_t>(sample));
    std::cout << tokenizer->decode(tokens) << "\n";
    if (sample + 1 < options.count) std::cout << "----\n";
  }
  return ExitStatus::done;
}

}  // namespace trireme
