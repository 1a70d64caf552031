// Data sets of tokens: HDF5 files made by `trireme pack text` and `trireme pack labels`. Format (version 2; a file with
// neither /units nor /labels is written as version 1, which does not know them):
//
//   /                attributes: format = "trireme-tokens", version = 1 or 2
//   /tokens          uint16 (vocabulary of at most 65,536) or uint32 [tokens], the documents one after the other, each
//                    closed by the end-of-text token
//   /documents       uint64 [documents + 1], offset of each document's first token, and the end
//   /units           uint8 [tokens], where words and sentences begin: see TokenUnit; or absent
//   /labels          int32 [documents], the label of each document, or int32 [tokens], that of each token, -1 where it
//                    has none; attribute of: "documents" or "tokens"; or absent
//   /tokenizer       attributes: kind ("bpe", "unigram", "characters", "wordpiece"), vocabulary, end_of_text
//   /tokenizer/model uint8 [bytes], what Tokenizer::load reads
//
// How many tokens there will be is known only at the end, so /tokens and /documents grow by chunks. A chunk is larger
// than HDF5's chunk cache and not compressed: a window of tokens is then read by itself, as from contiguous storage.
// What fits one chunk is contiguous.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

inline constexpr std::string_view token_format = "trireme-tokens";
inline constexpr std::int32_t token_format_version = 2;

/// Bits of a token's entry in /units.
struct TokenUnit {
  static constexpr std::uint8_t begins = 1;           ///< a word, or what else is one thing
  static constexpr std::uint8_t begins_sentence = 2;  ///< its first token in the document, or after the end of another
  static constexpr int level_shift = 2;               ///< bits 2 and 3: UnitLevel of the word it is part of
};

enum class LabelledBy : std::uint8_t { nothing, documents, tokens };

/// What a tokenizer needs to be made again.
struct TokenizerBlob {
  std::string kind;
  int vocabulary = 0;
  int end_of_text = 0;
  std::string model;
};

/// One or several files read as one long run of tokens; any size, only what is asked for is read. One thread at a time.
class TokenDataset {
 public:
  /// Opens and checks the files. Refuses what is missing, not HDF5, of another format or version, truncated, or of
  /// different vocabularies, naming the file.
  explicit TokenDataset(const std::vector<std::filesystem::path>& files);
  ~TokenDataset();

  std::int64_t tokens() const;
  std::int64_t documents() const;
  const TokenizerBlob& tokenizer() const;
  /// The file, or the first of several, for messages.
  std::string name() const;
  /// Whether all files tell where words begin.
  bool has_units() const;
  LabelledBy labelled_by() const;
  /// Reads tokens [first, first + out.size()). Refuses a token beyond the vocabulary, naming file and position.
  void read(std::int64_t first, std::span<std::int32_t> out);
  /// Those of the same tokens. There are units.
  void read_units(std::int64_t first, std::span<std::uint8_t> out);
  /// Those of documents, or of tokens: whatever is labelled.
  void read_labels(std::int64_t first, std::span<std::int32_t> out);
  struct Extent {
    std::int64_t first = 0, count = 0;
  };
  /// Where the tokens of a document lie, its end-of-text token included.
  Extent document(std::int64_t number);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes one data set file in bounded memory; it appears under its name, complete and on disk, only when `commit`
/// returns. Until then it is FILE.partial, removed when the writer goes without a commit.
class TokenDatasetWriter {
 public:
  struct Extras {
    bool units = false;
    LabelledBy labelled = LabelledBy::nothing;
  };
  TokenDatasetWriter(const std::filesystem::path& file, const TokenizerBlob& tokenizer, const Extras& extras);
  TokenDatasetWriter(const std::filesystem::path& file, const TokenizerBlob& tokenizer)
      : TokenDatasetWriter(file, tokenizer, Extras{}) {}
  ~TokenDatasetWriter();
  /// Adds to the document that is being written.
  void append(std::span<const std::int32_t> tokens);
  /// The same with a unit and a label for each token, where the file has them; `labels` is empty where it has those of
  /// documents.
  void append(std::span<const std::int32_t> tokens, std::span<const std::uint8_t> units,
              std::span<const std::int32_t> labels = {});
  /// Closes it with the end-of-text token; `label` is the document's, where the file has such.
  void end_document(std::int32_t label = -1);
  void append_document(std::span<const std::int32_t> tokens) {
    append(tokens);
    end_document();
  }
  std::int64_t tokens() const;
  std::int64_t documents() const;
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
