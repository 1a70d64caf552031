// Data sets of tokens: HDF5 files made by `trireme pack text`. Format (version 1):
//
//   /                attributes: format = "trireme-tokens", version = 1
//   /tokens          uint16 (vocabulary of at most 65,536) or uint32 [tokens], the documents one after the other, each
//                    closed by the end-of-text token
//   /documents       uint64 [documents + 1], offset of each document's first token, and the end
//   /tokenizer       attributes: kind ("bpe", "unigram", "characters"), vocabulary, end_of_text
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
inline constexpr std::int32_t token_format_version = 1;

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
  /// Reads tokens [first, first + out.size()). Refuses a token beyond the vocabulary, naming file and position.
  void read(std::int64_t first, std::span<std::int32_t> out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes one data set file in bounded memory; it appears under its name, complete and on disk, only when `commit`
/// returns. Until then it is FILE.partial, removed when the writer goes without a commit.
class TokenDatasetWriter {
 public:
  TokenDatasetWriter(const std::filesystem::path& file, const TokenizerBlob& tokenizer);
  ~TokenDatasetWriter();
  /// Adds to the document that is being written.
  void append(std::span<const std::int32_t> tokens);
  /// Closes it with the end-of-text token.
  void end_document();
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
