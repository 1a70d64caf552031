// Data sets of tokens: HDF5 files made by `trireme pack text`. Format (version 1):
//
//   /                attributes: format = "trireme-tokens", version = 1
//   /tokens          uint16 or uint32 [tokens], the documents one after the other, each closed by the end-of-text token
//   /documents       uint64 [documents + 1], offset of each document's first token, and the end
//   /tokenizer       attributes: kind ("bpe", "unigram", "characters"), vocabulary, end_of_text
//   /tokenizer/model uint8 [bytes], what Tokenizer::load reads
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace trireme {

/// What a tokenizer needs to be made again.
struct TokenizerBlob {
  std::string kind;
  int vocabulary = 0;
  int end_of_text = 0;
  std::string model;
};

/// One or several files read as one long run of tokens; any size, only what is asked for is read.
class TokenDataset {
 public:
  /// Opens and checks the files. Refuses what is missing, not HDF5, of another format or version, truncated, or of
  /// different vocabularies, naming the file.
  explicit TokenDataset(const std::vector<std::filesystem::path>& files);
  ~TokenDataset();

  std::int64_t tokens() const;
  std::int64_t documents() const;
  const TokenizerBlob& tokenizer() const;
  /// Reads tokens [first, first + out.size()). Refuses a token beyond the vocabulary, naming file and position.
  void read(std::int64_t first, std::span<std::int32_t> out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes one data set file; appears under its name only when `commit` returns.
class TokenDatasetWriter {
 public:
  TokenDatasetWriter(const std::filesystem::path& file, const TokenizerBlob& tokenizer);
  ~TokenDatasetWriter();
  void append_document(std::span<const std::int32_t> tokens);
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
