#include <optional>

#include "io/column.h"
#include "io/dataset.h"
#include "kernels/error.h"

namespace trireme {

struct TokenDatasetWriter::State {
  explicit State(const std::filesystem::path& path) : partial(path) {}

  PartialFile partial;
  const hdf5::Handle& file = partial.handle();
  int vocabulary = 0, end_of_text = 0;
  std::optional<Column<std::uint16_t>> narrow;  // one of the two holds the tokens
  std::optional<Column<std::uint32_t>> wide;
  Column<std::uint64_t> offsets{"documents"};
  bool in_document = false;

  std::int64_t tokens() const { return narrow ? narrow->size() : wide->size(); }
};

TokenDatasetWriter::TokenDatasetWriter(const std::filesystem::path& file, const TokenizerBlob& tokenizer)
    : state_(std::make_unique<State>(file)) {
  if (tokenizer.vocabulary < 1 || tokenizer.end_of_text < 0 || tokenizer.end_of_text >= tokenizer.vocabulary) {
    fail("a data set of {} tokens with end of text {}", tokenizer.vocabulary, tokenizer.end_of_text);
  }
  state_->vocabulary = tokenizer.vocabulary;
  state_->end_of_text = tokenizer.end_of_text;
  if (tokenizer.vocabulary <= 65536) {
    state_->narrow.emplace("tokens");
  } else {
    state_->wide.emplace("tokens");
  }
  hdf5::write_string(state_->file, "format", token_format);
  hdf5::write_number(state_->file, "version", token_format_version);
  const hdf5::Handle group = hdf5::create_group(state_->file, "tokenizer");
  hdf5::write_string(group, "kind", tokenizer.kind);
  hdf5::write_number<std::int32_t>(group, "vocabulary", tokenizer.vocabulary);
  hdf5::write_number<std::int32_t>(group, "end_of_text", tokenizer.end_of_text);
  hdf5::write_bytes(state_->file, "tokenizer/model", tokenizer.model);
  state_->offsets.push(state_->file, 0);
}

TokenDatasetWriter::~TokenDatasetWriter() = default;
std::int64_t TokenDatasetWriter::tokens() const { return state_->tokens(); }
std::int64_t TokenDatasetWriter::documents() const { return state_->offsets.size() - 1; }

void TokenDatasetWriter::append(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= state_->vocabulary) fail("token {} of a vocabulary of {}", token, state_->vocabulary);
    if (state_->narrow) {
      state_->narrow->push(state_->file, static_cast<std::uint16_t>(token));
    } else {
      state_->wide->push(state_->file, static_cast<std::uint32_t>(token));
    }
  }
  state_->in_document = true;
}

void TokenDatasetWriter::end_document() {
  append({&state_->end_of_text, 1});
  state_->offsets.push(state_->file, static_cast<std::uint64_t>(tokens()));
  state_->in_document = false;
}

void TokenDatasetWriter::commit() {
  if (state_->in_document) end_document();
  if (state_->narrow) {
    state_->narrow->finish(state_->file);
  } else {
    state_->wide->finish(state_->file);
  }
  state_->offsets.finish(state_->file);
  state_->partial.commit();
}

}  // namespace trireme
