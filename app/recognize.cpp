// trireme recognize
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/stored_model.h"
#include "io/lines/key_set.h"
#include "io/lines/line_image.h"
#include "io/lines/line_source.h"
#include "model/ctc_decode.h"

namespace trireme {
namespace {

/// Logits of a line's time steps, [steps, classes], without those of what fills up its width.
std::vector<float> logits_of(Session& session, const Line& line) {
  Backend& backend = session.backend();
  const int height = session.configuration().line.height;
  const int width = padded_width(line.width);
  std::vector<float> pixels(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  write_pixels(line, height, width, pixels.data());
  const Tensor image = backend.allocate({1, height, width, 1}, DType::f32);
  backend.upload(pixels.data(), image);
  const Tensor logits = infer(session, {image});
  return rows_of(session, logits, 0,
                 std::min<std::int64_t>(logits.shape()[1], (line.width + line_step - 1) / line_step));
}

}  // namespace

ExitStatus run_recognize(const Configuration& configuration, World& world) {
  const RecognizeOptions& options = configuration.recognize;
  if (options.images.empty()) refuse("recognize: found no image, expected pictures of lines, JPEG or PNG");
  StoredModel model(configuration, world, "recognize");
  if (model.tokenizer.kind != KeySet::kind)
    refuse("{}: found a checkpoint with a tokenizer of kind '{}', expected one of model.arch=crnn or svtr",
           model.folder.string(), model.tokenizer.kind);
  const KeySet key_set(model.tokenizer);
  Session session(model.configuration, world, model.tokenizer, Session::Purpose::inference);
  session.load(model.reader);

  for (const auto& image : options.images) {
    const Line line = read_line_image(image, session.configuration().line.height);
    const std::vector<float> logits = logits_of(session, line);
    const DecodedText found = options.beam > 0 ? decode_by_beam(logits, key_set.classes(), options.beam)
                                               : decode_greedily(logits, key_set.classes());
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
