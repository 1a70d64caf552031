// trireme recognize
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

/// Logits of a line's time steps, [steps, classes], without those of what fills up its width.
std::vector<float> logits_of(Inference& model, const Line& line, int classes) {
  const int height = model.configuration().line.height;
  const int width = padded_width(line.width);
  std::vector<float> pixels(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  write_pixels(line, height, width, pixels.data());
  const HostField picture{DType::f32, {height, width, 1}, pixels.data()};
  return model.logits({&picture, 1}, classes, {.count = (line.width + line_step - 1) / line_step});
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
    const std::vector<float> logits = logits_of(model, line, key_set.classes());
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
