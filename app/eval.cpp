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
  if (configuration.data.validation.empty())
    refuse("data.validation is not set; it names the data sets to evaluate on");
  const auto folder = find_checkpoint(configuration.checkpoint, world);
  if (folder.empty())
    refuse("checkpoint.directory='{}' holds no checkpoint to evaluate", configuration.checkpoint.directory.string());
  CheckpointReader reader(folder);
  const auto data = std::make_shared<TokenDataset>(configuration.data.validation);
  const TokenizerBlob tokenizer = tokenizer_of(reader.info());
  if (data->tokenizer().model != tokenizer.model)
    refuse("data.validation={} was packed with another tokenizer than the checkpoint {} was trained with",
           configuration.data.validation.front().string(), folder.string());
  Session session(with_model_of(configuration, reader.info()), world, tokenizer, Session::Purpose::inference);
  session.load(reader);
  const double loss = *evaluate(session, data, configuration.train.validation_batches);
  if (world.rank() == 0)
    std::cout << fmt::format("step {}  loss {:.6f} nats a token  perplexity {:.3f}  {}\n", reader.info().step, loss,
                             std::exp(loss), folder.string());
  return ExitStatus::done;
}

}  // namespace trireme
