#include "app/stored_model.h"

#include "app/options.h"

namespace trireme {
namespace {

std::filesystem::path find_folder(const Configuration& configuration, World& world, std::string_view command) {
  if (world.size() != 1)
    refuse("{} runs on one rank, found {}: start it without mpirun, or with -n 1", command, world.size());
  auto folder = find_checkpoint(configuration.checkpoint, world);
  if (folder.empty())
    refuse("{}: checkpoint.directory='{}' holds no checkpoint", command, configuration.checkpoint.directory.string());
  return folder;
}

}  // namespace

StoredModel::StoredModel(const Configuration& given, World& world, std::string_view command)
    : folder(find_folder(given, world, command)),
      reader(folder),
      tokenizer(tokenizer_of(reader.info())),
      configuration(with_model_of(given, reader)) {
  configuration.augmentation = parse_ini(reader.info().configuration, "configuration in the checkpoint").augmentation;
  configuration.parallel = {};
  configuration.train.global_batch = configuration.train.micro_batch = 1;
}

}  // namespace trireme
