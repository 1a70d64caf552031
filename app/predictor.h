// What `trireme predict` asks of a model.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace trireme {

class Inference;

/// What a model says of one input: labels of all of it, the likeliest first, or spans of its text.
struct Prediction {
  struct Choice {
    std::string label;
    double probability = 0;
  };
  struct Span {
    std::string label, text;
    std::size_t begin = 0, end = 0;  ///< characters of Prediction::text
    double probability = 0;          ///< of its least certain token
  };
  std::vector<Choice> choices;
  bool tells_spans = false;
  std::string text;  ///< as the model reads it
  std::vector<Span> spans;
};

class Predictor {
 public:
  virtual ~Predictor() = default;
  /// Refuses what is no input for this model, naming it.
  virtual Prediction predict(Inference& model, const std::string& input) const = 0;
};

/// All labels with their softmax, the likeliest first.
std::vector<Prediction::Choice> ranked(std::span<const float> logits, const std::vector<std::string>& labels);

}  // namespace trireme
