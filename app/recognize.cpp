// trireme recognize
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/inference.h"
#include "app/stored_model.h"
#include "io/lines/key_set.h"
#include "io/lines/line_image.h"
#include "io/lines/line_source.h"
#include "model/ctc_decode.h"

namespace trireme {
namespace {

/// What a line says: by the greatest logit of each time step or, where a beam is given, by a search.
DecodedText read_line(Session& session, Inference& model, const Line& line) {
  const int height = session.configuration().line.height;
  const int width = padded_width(line.width);
  std::vector<float> pixels(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  write_pixels(line, height, width, pixels.data());
  const HostField picture{DType::f32, {height, width, 1}, pixels.data()};
  const std::int32_t steps = (line.width + line_step - 1) / line_step;  // without what fills up its width
  const int beam = session.configuration().recognize.beam;
  DecodedText found;
  model.run({&picture, 1}, [&](const Tensor& logits) {
    Backend& backend = session.backend();
    if (beam == 0) {
      found = decode_greedily(backend, logits, {&steps, 1}).front();
      return;
    }
    const std::int64_t classes = logits.shape()[2];
    const Tensor exact = backend.allocate({std::min<std::int64_t>(steps, logits.shape()[1]), classes}, DType::f32);
    backend.cast(logits.view(0, exact.shape()), exact);
    std::vector<float> values(static_cast<std::size_t>(exact.elements()));
    backend.download(exact, values.data());
    found = decode_by_beam(values, classes, beam);
  });
  return found;
}

}  // namespace

ExitStatus run_recognize(const Configuration& configuration, World& world) {
  const RecognizeOptions& options = configuration.recognize;
  if (options.images.empty()) refuse("recognize: found no image, expected pictures of lines, JPEG or PNG");
  StoredModel stored(configuration, world, "recognize");
  if (stored.tokenizer.kind != KeySet::kind)
    refuse("{}: found a checkpoint with a tokenizer of kind '{}', expected one of model.arch=crnn or svtr",
           stored.folder.string(), stored.tokenizer.kind);
  const KeySet key_set(stored.tokenizer);
  Session session(stored.configuration, world, stored.tokenizer, Session::Purpose::inference);
  session.load(stored.reader);

  Inference model(session);
  for (const auto& image : options.images) {
    const Line line = read_line_image(image, session.configuration().line.height);
    const DecodedText found = read_line(session, model, line);
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
