// Text that a language model writes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "app/inference.h"
#include "io/tokenizer.h"

namespace trireme {

/// A text begins where another ended: the end-of-text token, and the prompt's tokens.
std::vector<std::int32_t> begin_text(const Tokenizer& tokenizer, std::string_view prompt);

/// Draws tokens that follow, up to options.tokens or the end-of-text token, and returns all. `number` of the text: with
/// another one, or another options.seed, other tokens are drawn. Collective as Inference::logits.
std::vector<std::int32_t> continue_text(Inference& model, std::vector<std::int32_t> tokens,
                                        const SampleOptions& options, std::uint64_t number);

}  // namespace trireme
