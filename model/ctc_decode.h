// From a recogniser's logits to a text: connectionist temporal classification (Graves et al. 2006), read backwards.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace trireme {

struct DecodedText {
  std::vector<std::int32_t> labels;
  /// 0..1. Of greedy decoding the mean probability of the steps that gave a label, as PaddleOCR has it; of a beam
  /// search the probability of the text.
  double confidence = 0;
};

/// The texts of logits f [batch, time, classes]: of each the likeliest class of its first `steps[sample]` time steps
/// (at most all), without repetitions and blanks (class 0). The device finds the classes: only these are downloaded.
std::vector<DecodedText> decode_greedily(Backend& backend, const Tensor& logits, std::span<const std::int32_t> steps);

/// Prefix beam search (Hannun et al. 2014, without a language model): the likeliest text, whose probability is that of
/// all ways to write it. logits is [steps, classes]. Keeps `width` prefixes a step; of each step, classes less likely
/// than 1e-6 are left out.
DecodedText decode_by_beam(std::span<const float> logits, std::int64_t classes, int width);

/// Insertions, deletions and substitutions that make one text of the other.
std::int64_t edit_distance(std::span<const std::int32_t> a, std::span<const std::int32_t> b);

}  // namespace trireme
