// Labels of texts and of their tokens, from models that were fine-tuned to tell them.
#pragma once

#include <memory>

#include "app/predictor.h"
#include "io/dataset.h"

namespace trireme {

/// `tokenizer` has labels. Texts are read as LabelledSource reads them, of at most `context` tokens.
std::unique_ptr<Predictor> make_text_predictor(const TokenizerBlob& tokenizer, int context);

}  // namespace trireme
