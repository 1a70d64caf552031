// What `trireme predict` asks a model: how an input becomes a sample, and what the logits say.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "io/source.h"

namespace trireme {

/// One field of one sample, in host memory.
struct SampleField {
  Field field;
  std::vector<std::byte> data;
};

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
  /// The sample without its targets. Refuses what is no input for this model, naming it.
  virtual std::vector<SampleField> sample(const std::string& input) const = 0;
  /// logits [rows, labels] of that sample.
  virtual Prediction predict(const std::string& input, std::span<const float> logits) const = 0;
};

/// All labels with their softmax, the likeliest first.
std::vector<Prediction::Choice> ranked(std::span<const float> logits, const std::vector<std::string>& labels);

}  // namespace trireme
