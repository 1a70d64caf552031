// trireme sample
#include <iostream>

#include "app/commands.h"
#include "app/continuation.h"
#include "app/stored_model.h"
#include "app/workload.h"

namespace trireme {

ExitStatus run_sample(const Configuration& configuration, World& world) {
  StoredModel stored(configuration, world, "sample");
  const TokenizerBlob& blob = stored.tokenizer;
  if (!workload_of(stored.configuration).writes_text())
    refuse("{}: found a checkpoint of model.arch={}, expected one of a model that writes text", stored.folder.string(),
           stored.configuration.arch);
  Session session(stored.configuration, world, blob, Session::Purpose::inference);
  session.load(stored.reader);
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
