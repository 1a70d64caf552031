#include "app/stored_model.h"

#include <utility>

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
      configuration(with_model_of(given, reader.info())) {
  configuration.augmentation = parse_ini(reader.info().configuration, "configuration in the checkpoint").augmentation;
  configuration.parallel = {};
  configuration.train.global_batch = configuration.train.micro_batch = 1;
}

Tensor infer(Session& session, std::vector<Tensor> fields) {
  const Microbatch microbatch{.fields = std::move(fields)};
  const Context context{.backend = session.backend(),
                        .tensor = session.tensor(),
                        .data = session.data(),
                        .type = session.type(),
                        .training = false,
                        .seed = 0,
                        .loss_scale = 1.0F,
                        .microbatches = 1,
                        .microbatch = microbatch};
  Tensor x = microbatch.fields.front();
  Saved nothing;
  for (const auto& block : session.stage().blocks) x = block->forward(context, x, nothing);
  return x;
}

std::vector<float> rows_of(Session& session, const Tensor& logits, std::int64_t first, std::int64_t count) {
  const std::int64_t classes = logits.shape().columns();
  const Tensor exact = session.backend().allocate({count, classes}, DType::f32);
  session.backend().cast(logits.view(first * classes, exact.shape()), exact);
  std::vector<float> rows(static_cast<std::size_t>(count * classes));
  session.backend().download(exact, rows.data());
  return rows;
}

}  // namespace trireme
