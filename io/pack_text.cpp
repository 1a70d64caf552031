#include "io/pack_text.h"

#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include "io/dataset.h"
#include "io/text_reader.h"
#include "io/tokenizer.h"
#include "io/unit_encoder.h"
#include "io/utf8.h"
#include "io/wordpiece_tokenizer.h"
#include "kernels/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

void check_options(const PackTextOptions& options) {
  Tokenizer::check(options.tokenizer, options.vocabulary);
  const bool for_wordpiece = options.width != "keep" || options.script != "keep" || !options.dictionary.empty();
  if (for_wordpiece && options.tokenizer != WordpieceTokenizer::kind)
    refuse("tokenizer: found '{}', expected wordpiece: width, script and dictionary are for that only",
           options.tokenizer);
  if (options.inputs.empty()) refuse("input: none given, expected text files or folders");
  if (options.output.empty()) refuse("output: none given, expected the data set to write");
  if (options.tokenizer_megabytes < 1) {
    refuse("tokenizer-megabytes: found {}, expected at least 1", options.tokenizer_megabytes);
  }
  for (const fs::path& output : {options.output, options.validation_output}) {
    if (!output.parent_path().empty() && !fs::is_directory(output.parent_path())) {
      refuse("{}: there is no folder {} to write it in", output.string(), output.parent_path().string());
    }
  }
  if (options.validation_output.empty()) return;
  if (fs::weakly_canonical(options.output) == fs::weakly_canonical(options.validation_output)) {
    refuse("validation-output: {} is the output itself", options.validation_output.string());
  }
  const double share = options.validation_share;
  if (share <= 0 || share > 0.5 || std::isnan(share)) {
    refuse("validation-share: found {}, expected more than 0 and at most 0.5", options.validation_share);
  }
}

std::vector<fs::path> list_files(const std::vector<fs::path>& inputs) {
  std::vector<fs::path> files;
  for (const fs::path& input : inputs) {
    if (!fs::exists(input)) refuse("{}: no such file or folder", input.string());
    if (!fs::is_directory(input)) {
      files.push_back(input);
      continue;
    }
    const auto first = static_cast<std::ptrdiff_t>(files.size());
    for (const auto& entry : fs::recursive_directory_iterator(input)) {
      if (entry.is_regular_file() && entry.path().extension() == ".txt") files.push_back(entry.path());
    }
    std::sort(files.begin() + first, files.end());
    if (static_cast<std::ptrdiff_t>(files.size()) == first) refuse("{}: holds no *.txt", input.string());
  }
  return files;
}

struct Piece {
  std::string text;
  std::int64_t document = 0;  ///< running number
};

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\f") == std::string_view::npos; }
bool is_separator(std::string_view line) { return line == "%\n" || line == "%" || line == "\f\n" || line == "\f"; }

/// All the text, a piece at a time, the same each time.
class Corpus {
 public:
  Corpus(const PackTextOptions& options, std::vector<fs::path> files)
      : files_(std::move(files)), encoding_(options.encoding) {
    for (const fs::path& file : files_) bytes_ += static_cast<std::int64_t>(fs::file_size(file));
    if (options.validation_output.empty()) return;
    const double quarter = options.validation_share * static_cast<double>(bytes_) / 4;
    piece_bytes_ = static_cast<std::size_t>(std::clamp(quarter, 1024.0, static_cast<double>(largest_piece)));
  }

  std::int64_t files() const { return static_cast<std::int64_t>(files_.size()); }

  template <typename Visit>
  void visit(std::string_view phase, const PackTextProgress& progress, const Visit& visit_piece) const {
    Piece piece;
    std::int64_t before = 0;  // bytes of the files that are done
    for (const fs::path& file : files_) {
      TextReader reader(file, encoding_, piece_bytes_);
      bool begun = false;  // whether pieces of this document were visited
      const auto emit = [&] {
        if (begun || !is_blank(piece.text)) {
          visit_piece(static_cast<const Piece&>(piece));
          begun = true;
          if (progress) progress(phase, share_done(before + reader.bytes_read()));
        }
        piece.text.clear();
      };
      const auto end_document = [&] {
        if (!piece.text.empty()) emit();
        if (begun) ++piece.document;
        begun = false;
      };
      for (std::string_view line = reader.next_line(); !line.empty(); line = reader.next_line()) {
        if (is_separator(line)) {
          end_document();
          continue;
        }
        if (!piece.text.empty() && piece.text.size() + line.size() > piece_bytes_) emit();
        piece.text += line;
      }
      end_document();
      before += reader.bytes_read();
    }
  }

 private:
  static constexpr std::size_t largest_piece = std::size_t{1} << 20;

  double share_done(std::int64_t bytes) const { return static_cast<double>(bytes) / static_cast<double>(bytes_); }

  std::vector<fs::path> files_;
  std::string encoding_;
  std::int64_t bytes_ = 0;
  std::size_t piece_bytes_ = largest_piece;
};

/// Which pieces are the validation set: those whose hash is at most a threshold.
struct Validation {
  std::optional<std::uint64_t> threshold;
  bool has(const Piece& piece) const { return threshold && hash(piece) <= *threshold; }
  static std::uint64_t hash(const Piece& piece) { return XXH3_64bits(piece.text.data(), piece.text.size()); }
};

/// Reads all once: counts, meets every fault of the input, and settles the validation set.
Validation survey(const PackTextOptions& options, const Corpus& corpus, const PackTextProgress& progress,
                  PackTextResult& result) {
  Validation validation;
  if (!options.validation_output.empty()) {
    validation.threshold = static_cast<std::uint64_t>(options.validation_share * 0x1p64);
  }
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max(), most = 0;
  corpus.visit("reading", progress, [&](const Piece& piece) {
    result.documents = piece.document + 1;
    result.bytes += static_cast<std::int64_t>(piece.text.size());
    result.characters += static_cast<std::int64_t>(count_code_points(piece.text));
    least = std::min(least, Validation::hash(piece));
    most = std::max(most, Validation::hash(piece));
  });
  result.files = corpus.files();
  if (result.documents == 0) refuse("{}: there is no text in the input", options.inputs.front().string());
  if (validation.threshold) {
    if (least == most) {
      refuse("validation-output: the input is {} bytes, too short to be split; give more text", result.bytes);
    }
    // Few pieces may all fall on one side: then the one with the least hash is the validation set.
    if (least > *validation.threshold || most <= *validation.threshold) validation.threshold = least;
  }
  return validation;
}

TextForm form_of(const PackTextOptions& options) {
  const auto choice = [](const char* name, const std::string& found, const char* other) {
    if (found != "keep" && found != other) refuse("{}: found '{}', expected keep or {}", name, found, other);
    return found == other;
  };
  return {.fold_width = choice("width", options.width, "fold"),
          .simplify = choice("script", options.script, "simplified")};
}

std::unique_ptr<Tokenizer> train_tokenizer(const PackTextOptions& options, const Corpus& corpus,
                                           const Validation& validation, std::int64_t text_bytes,
                                           const PackTextProgress& progress) {
  const double share = options.tokenizer_megabytes * 1e6 / static_cast<double>(text_bytes);
  std::vector<std::string> taken;
  double seen_bytes = 0, taken_bytes = 0;
  corpus.visit("training the tokenizer", {}, [&](const Piece& piece) {
    if (validation.has(piece)) return;
    const auto bytes = static_cast<double>(piece.text.size());
    seen_bytes += bytes;
    if (!taken.empty() && taken_bytes + bytes > share * seen_bytes) return;
    taken_bytes += bytes;
    taken.push_back(piece.text);
  });
  if (progress) progress("training the tokenizer", 0);
  const std::vector<std::string_view> texts(taken.begin(), taken.end());
  if (options.tokenizer != WordpieceTokenizer::kind)
    return Tokenizer::train(options.tokenizer, options.vocabulary, texts);
  return WordpieceTokenizer::train(options.vocabulary, texts, form_of(options));
}

/// Adds a piece of text to a data set, as the tokenizer wants it: "wordpiece" with the bounds of its words.
class PieceWriter {
 public:
  PieceWriter(const Tokenizer& tokenizer, const Segmenter* segmenter) : tokenizer_(tokenizer) {
    if (const auto* wordpiece = dynamic_cast<const WordpieceTokenizer*>(&tokenizer))
      encoder_.emplace(*wordpiece, segmenter);
  }
  TokenDatasetWriter::Extras extras() const { return {.units = encoder_.has_value()}; }
  void operator()(std::string_view text, TokenDatasetWriter& to, PackTextSplit& counts) const {
    if (!encoder_) return to.append(tokenizer_.encode(text));
    const EncodedText encoded = encoder_->encode(text);
    to.append(encoded.tokens, encoded.units);
    for (const std::uint8_t unit : encoded.units)
      if ((unit & TokenUnit::begins) != 0) ++counts.units.at(unit >> TokenUnit::level_shift);
  }

 private:
  const Tokenizer& tokenizer_;
  std::optional<UnitEncoder> encoder_;
};

void encode(const PackTextOptions& options, const Corpus& corpus, const Validation& validation,
            const Tokenizer& tokenizer, const Segmenter* segmenter, const PackTextProgress& progress,
            PackTextResult& result) {
  const TokenizerBlob blob = tokenizer.blob();
  const PieceWriter write(tokenizer, segmenter);
  TokenDatasetWriter train(options.output, blob, write.extras());
  std::optional<TokenDatasetWriter> held_out;
  if (validation.threshold) held_out.emplace(options.validation_output, blob, write.extras());
  TokenDatasetWriter* open = nullptr;
  std::int64_t document = 0;
  corpus.visit("encoding", progress, [&](const Piece& piece) {
    TokenDatasetWriter* to = validation.has(piece) ? &*held_out : &train;
    if (open != nullptr && (open != to || document != piece.document)) open->end_document();
    write(piece.text, *to, to == &train ? result.train : result.validation);
    open = to;
    document = piece.document;
  });
  if (open != nullptr) open->end_document();
  train.commit();
  result.train.documents = train.documents();
  result.train.tokens = train.tokens();
  if (held_out) {
    held_out->commit();
    result.validation.documents = held_out->documents();
    result.validation.tokens = held_out->tokens();
  }
  result.vocabulary = blob.vocabulary;
}

}  // namespace

PackTextResult pack_text(const PackTextOptions& options, const PackTextProgress& progress) {
  const auto start = std::chrono::steady_clock::now();
  check_options(options);
  form_of(options);
  std::optional<Segmenter> segmenter;
  if (!options.dictionary.empty()) segmenter.emplace(options.dictionary);
  const Corpus corpus(options, list_files(options.inputs));
  PackTextResult result;
  const Validation validation = survey(options, corpus, progress, result);
  const auto tokenizer = train_tokenizer(options, corpus, validation, result.bytes, progress);
  encode(options, corpus, validation, *tokenizer, segmenter ? &*segmenter : nullptr, progress, result);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace trireme
