// trireme predict
#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "app/commands.h"
#include "app/inference.h"
#include "app/options.h"
#include "app/stored_model.h"
#include "app/workload.h"
#include "io/text_reader.h"
#include "kernels/error.h"

namespace trireme {

std::vector<Prediction::Choice> ranked(std::span<const float> logits, const std::vector<std::string>& labels) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  std::vector<std::size_t> order(labels.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(
      order, [&](std::size_t a, std::size_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  std::vector<Prediction::Choice> choices;
  for (const std::size_t label : order) choices.push_back({labels[label], std::exp(logits[label] - largest) / sum});
  return choices;
}

namespace {

constexpr std::size_t longest_line = std::size_t{1} << 20;

/// The arguments, then the lines of the file.
std::vector<std::string> inputs_of(const PredictOptions& options) {
  std::vector<std::string> inputs = options.items;
  if (!options.input.empty()) {
    TextReader reader(options.input, "utf-8", longest_line);
    for (std::string_view line = reader.next_line(); !line.empty(); line = reader.next_line()) {
      if (line.ends_with('\n')) line.remove_suffix(1);
      inputs.emplace_back(line);
      if (line.find_first_not_of(" \t") == std::string_view::npos)
        refuse("{}:{}: found an empty line, expected a text or an image file", options.input.string(),
               inputs.size() - options.items.size());
    }
  }
  if (inputs.empty()) refuse("predict: found no input, expected texts or images as arguments, or --input=FILE");
  return inputs;
}

nlohmann::ordered_json to_json(const std::string& input, const Prediction& prediction) {
  nlohmann::ordered_json object = {{"input", input}};
  if (prediction.tells_spans) {
    object["text"] = prediction.text;
    object["spans"] = nlohmann::ordered_json::array();
    for (const auto& [label, text, begin, end, probability] : prediction.spans)
      object["spans"].push_back(
          {{"label", label}, {"text", text}, {"begin", begin}, {"end", end}, {"probability", probability}});
    return object;
  }
  object["labels"] = nlohmann::ordered_json::array();
  for (const auto& [label, probability] : prediction.choices)
    object["labels"].push_back({{"label", label}, {"probability", probability}});
  return object;
}

/// The input, and after TABs each label with its probability, or LABEL:TEXT of each span.
std::string to_line(const std::string& input, const Prediction& prediction) {
  std::string line = prediction.tells_spans ? prediction.text : input;
  for (const auto& [label, probability] : prediction.choices) line += fmt::format("\t{}\t{:.4f}", label, probability);
  for (const auto& span : prediction.spans) line += fmt::format("\t{}:{}", span.label, span.text);
  return line;
}

}  // namespace

ExitStatus run_predict(const Configuration& configuration, World& world) {
  const PredictOptions& options = configuration.predict;
  const std::vector<std::string> inputs = inputs_of(options);
  StoredModel stored(configuration, world, "predict");
  const Workload& workload = workload_of(stored.configuration);
  workload.take(stored.configuration, stored.tokenizer);
  const auto predictor = workload.predictor(stored.configuration, stored.tokenizer);
  if (!predictor)
    refuse(
        "{}: found a checkpoint of model.arch={} that gives no labels, expected one of resnet, or of ernie after "
        "fine-tuning",
        stored.folder.string(), stored.configuration.arch);
  Session session(stored.configuration, world, stored.tokenizer, Session::Purpose::inference);
  session.load(stored.reader);
  Inference model(session);

  for (const std::string& input : inputs) {
    Prediction prediction = predictor->predict(model, input);
    const auto top = std::min(prediction.choices.size(), static_cast<std::size_t>(options.top));
    prediction.choices.erase(prediction.choices.begin() + static_cast<std::ptrdiff_t>(top), prediction.choices.end());
    std::cout << (options.json ? to_json(input, prediction).dump() : to_line(input, prediction)) << "\n";
  }
  return ExitStatus::done;
}

}  // namespace trireme
