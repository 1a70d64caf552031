// trireme recognize
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/session.h"
#include "io/lines/key_set.h"
#include "io/lines/line_image.h"
#include "io/lines/line_source.h"
#include "model/ctc_decode.h"

namespace trireme {
namespace {

/// Logits of a line [1, time, classes], with those of what fills up its width.
Tensor logits_of(Session& session, const Line& line) {
  Backend& backend = session.backend();
  const int height = session.configuration().line.height;
  const int width = padded_width(line.width);
  std::vector<float> pixels(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  write_pixels(line, height, width, pixels.data());
  const Tensor image = backend.allocate({1, height, width, 1}, DType::f32);
  backend.upload(pixels.data(), image);
  const Microbatch microbatch{.fields = {image}};
  const Context context{.backend = backend,
                        .tensor = session.tensor(),
                        .data = session.data(),
                        .type = session.type(),
                        .training = false,
                        .seed = 0,
                        .loss_scale = 1.0F,
                        .microbatches = 1,
                        .microbatch = microbatch};
  Tensor x = image;
  Saved nothing;
  for (const auto& block : session.stage().blocks) x = block->forward(context, x, nothing);
  return x;
}

DecodedText read_line(Session& session, const Line& line) {
  Backend& backend = session.backend();
  const Tensor logits = logits_of(session, line);
  const std::int32_t steps = (line.width + line_step - 1) / line_step;
  const int beam = session.configuration().recognize.beam;
  if (beam == 0) return decode_greedily(backend, logits, {&steps, 1}).front();
  const std::int64_t classes = logits.shape()[2];
  const Tensor exact = backend.allocate({std::min<std::int64_t>(steps, logits.shape()[1]), classes}, DType::f32);
  backend.cast(logits.view(0, exact.shape()), exact);
  std::vector<float> values(static_cast<std::size_t>(exact.elements()));
  backend.download(exact, values.data());
  return decode_by_beam(values, classes, beam);
}

}  // namespace

ExitStatus run_recognize(const Configuration& configuration, World& world) {
  const RecognizeOptions& options = configuration.recognize;
  if (world.size() != 1)
    refuse("recognize runs on one rank, found {}: start it without mpirun, or with -n 1", world.size());
  if (options.images.empty()) refuse("recognize: found no image, expected pictures of lines, JPEG or PNG");
  const auto folder = find_checkpoint(configuration.checkpoint, world);
  if (folder.empty())
    refuse("checkpoint.directory='{}' holds no checkpoint to recognize with",
           configuration.checkpoint.directory.string());
  CheckpointReader reader(folder);
  const TokenizerBlob blob = tokenizer_of(reader.info());
  if (blob.kind != KeySet::kind)
    refuse("{}: found a checkpoint with a tokenizer of kind '{}', expected one of model.arch=crnn or svtr",
           folder.string(), blob.kind);
  const KeySet key_set(blob);
  Configuration single = with_model_of(configuration, reader.info());
  single.parallel = {};
  single.train.global_batch = single.train.micro_batch = 1;
  Session session(single, world, blob, Session::Purpose::inference);
  session.load(reader);

  for (const auto& image : options.images) {
    const Line line = read_line_image(image, session.configuration().line.height);
    const DecodedText found = read_line(session, line);
    const std::string text = key_set.decode(found.labels);
    if (options.json)
      std::cout << nlohmann::ordered_json{{"path", image.string()}, {"text", text}, {"confidence", found.confidence}}
                << "\n";
    else
      std::cout << fmt::format("{}\t{}\t{:.4f}\n", image.string(), text, found.confidence);
  }
  return ExitStatus::done;
}

}  // namespace trireme
