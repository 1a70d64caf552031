// trireme eval
#include <cmath>
#include <iostream>

#include "app/commands.h"
#include "app/trainer.h"
#include "app/watchdog.h"
#include "kernels/activity.h"

namespace trireme {

ExitStatus run_eval(const Configuration& configuration, World& world) {
  const Watchdog watchdog(world, {.limit = configuration.train.watchdog, .name = "train.watchdog"});
  const Activity activity("evaluation");
  const auto folder = find_checkpoint(configuration.checkpoint, world);
  if (folder.empty())
    refuse("checkpoint.directory='{}' holds no checkpoint to evaluate", configuration.checkpoint.directory.string());
  CheckpointReader reader(folder);
  const Configuration stored = with_model_of(configuration, reader);
  const auto data = open_data(stored, configuration.data.validation, "data.validation");
  const TokenizerBlob tokenizer = tokenizer_of(reader.info());
  if (data->tokenizer().model != tokenizer.model)
    refuse("data.validation={} was packed with another tokenizer than the checkpoint {} was trained with",
           configuration.data.validation.front().string(), folder.string());
  Session session(stored, world, tokenizer, Session::Purpose::inference);
  session.load(reader);
  const Measured values = *evaluate(session, *data, configuration.train.validation_batches);
  if (world.rank() == 0) {
    const std::vector<Metric>& metrics = session.architecture().metrics;
    const bool of_tokens = metrics.front().unit == "nats a token";
    std::cout << fmt::format("step {}  {}{}  {}\n", reader.info().step, format_measured(metrics, values, 6),
                             of_tokens ? fmt::format("  perplexity {:.3f}", std::exp(values.front().second)) : "",
                             folder.string());
  }
  return ExitStatus::done;
}

}  // namespace trireme
