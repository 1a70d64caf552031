// What `trireme pack labels` does: texts with labels to a data set for fine-tuning, with the tokenizer of the model
// that is to be fine-tuned.
//
// Labels of texts: a text a line, LABEL<TAB>TEXT or LABEL<TAB>TEXT<TAB>OTHER TEXT. Labels of tokens: TOKEN<TAB>LABEL a
// line (or a space between them), an empty line ends a text; of a token that becomes several the first has the label.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/dataset.h"

namespace trireme {

struct PackLabelsOptions {
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path output;
  std::string encoding = "utf-8";        ///< as TextReader
  std::filesystem::path tokenizer_from;  ///< a data set, a checkpoint or a folder of checkpoints
  std::string of = "texts";              ///< or "tokens"
  std::string labels;  ///< all there are, "a,b"; empty: those of tokenizer_from, or else those that occur, sorted
};

struct PackLabelsResult {
  std::vector<std::pair<std::string, std::int64_t>> labels;  ///< with how often each occurs
  std::int64_t texts = 0, tokens = 0;
  std::int64_t longest = 0;  ///< tokens of a text
};

/// Refuses missing files, text that is not of the encoding, and lines without a label, with one that is not among
/// `labels`, or without text, naming file and line. The data set appears when it is complete.
PackLabelsResult pack_labels(const PackLabelsOptions& options);

/// The tokenizer of a data set, a checkpoint or the newest checkpoint in a folder.
TokenizerBlob read_tokenizer(const std::filesystem::path& from);

}  // namespace trireme
