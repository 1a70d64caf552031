// What `trireme pack text` does: text files to data sets of tokens.
//
// Documents: a file is one document, unless it holds lines that are only "%" (as fortune files do) or a form feed:
// those part documents and are dropped. Documents of white space only are dropped.
//
// Validation: chosen by a hash of the text, so that it depends on nothing else and equal documents stay together. What
// is chosen is a document, or, of a long one, a piece: pieces end at line ends where they can and have at most a
// quarter of the share wanted, but 1 KiB to 1 MiB. A train document goes on over its pieces and ends where one is taken
// out.
//
// Memory is bounded whatever the size: files are read thrice (statistics and checks, text for the tokenizer, encoding),
// a piece at a time.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct PackTextOptions {
  std::vector<std::filesystem::path> inputs;  ///< files, and folders: their *.txt, at any depth, sorted
  std::filesystem::path output;
  std::filesystem::path validation_output;  ///< empty: no validation set
  double validation_share = 0.02;           ///< of the text
  std::string tokenizer = "bpe";            ///< as Tokenizer::train
  int vocabulary = 8000;
  std::string encoding = "utf-8";  ///< as TextReader
  // Of tokenizer "wordpiece":
  std::string width = "keep";        ///< or "fold": see TextForm
  std::string script = "keep";       ///< or "simplified"
  std::filesystem::path dictionary;  ///< words and entities, as Segmenter reads them; empty: none
  int tokenizer_megabytes = 64;      ///< the tokenizer is trained on at most so much train text, taken evenly
};

struct PackTextSplit {
  std::int64_t documents = 0;
  std::int64_t tokens = 0;
  std::array<std::int64_t, 3> units{};  ///< of each UnitLevel
};

struct PackTextResult {
  std::int64_t files = 0;
  std::int64_t documents = 0;   ///< found; the data sets may hold more, see above
  std::int64_t bytes = 0;       ///< of text as UTF-8
  std::int64_t characters = 0;  ///< code points
  int vocabulary = 0;           ///< of the tokenizer that was made
  PackTextSplit train, validation;
  double seconds = 0;
};

/// Told now and then: a phase ("reading", "training the tokenizer", "encoding") and how much of it is done, 0 to 1.
using PackTextProgress = std::function<void(std::string_view phase, double done)>;

/// Refuses wrong options, missing inputs, inputs without text, text that is not of the encoding, and text too short to
/// be split. The data sets appear when they are complete.
PackTextResult pack_text(const PackTextOptions& options, const PackTextProgress& progress = {});

}  // namespace trireme
